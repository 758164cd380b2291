package run

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// checkWithin bounds the mode healthcheck.
const checkWithin = 5 * time.Second

// checkHealth is the mode healthcheck: it asks the process that listens on PORT
// whether it is ready. An image without a shell has nothing else to ask with.
func checkHealth(ctx context.Context, c *Config) error {
	ctx, cancel := context.WithTimeout(ctx, checkWithin)
	defer cancel()
	url := "http://" + net.JoinHostPort(cmp.Or(c.Host, "127.0.0.1"), strconv.Itoa(c.Port)) + "/readyz"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		reason, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return fmt.Errorf("not ready: %s: %s", response.Status, strings.TrimSpace(string(reason)))
	}
	return nil
}
