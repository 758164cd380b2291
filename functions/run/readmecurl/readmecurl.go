// Package readmecurl takes the curl commands out of the README, so that tests
// send what a reader would type.
package readmecurl

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Command is one curl command as it stands in the text.
type Command string

// Commands returns the curl commands of text, in its order.
func Commands(text string) []Command {
	var list []Command
	for i, block := range strings.Split(text, "```") {
		block, isShell := strings.CutPrefix(block, "sh\n")
		if i%2 == 1 && isShell && strings.HasPrefix(block, "curl ") {
			list = append(list, Command(strings.TrimSpace(block)))
		}
	}
	return list
}

// Path is the path of the command's URL.
func (c Command) Path() string {
	for _, word := range c.words(time.Time{}) {
		if rest, ok := strings.CutPrefix(word, "http://"); ok {
			_, path, _ := strings.Cut(rest, "/")
			return "/" + path
		}
	}
	return "/"
}

// Request returns what the command sends, to url in place of its own, at the time
// now.
func (c Command) Request(ctx context.Context, url string, now time.Time) (*http.Request, error) {
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}} // curl's default with -d
	body := ""
	words := c.words(now)
	for i := 1; i < len(words); i++ {
		switch word := words[i]; {
		case word == "-i", strings.HasPrefix(word, "http://"):
		case word == "-H" && i+1 < len(words):
			i++
			name, value, _ := strings.Cut(words[i], ":")
			header.Set(name, strings.TrimSpace(value))
		case word == "-d" && i+1 < len(words):
			i++
			body = words[i]
		default:
			return nil, fmt.Errorf("the command has an argument that is not known: %q", word)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = header
	return request, nil
}

// words splits the command as a shell does, with single quotes, backslashes
// before the end of a line, and $(date +%s000).
func (c Command) words(now time.Time) []string {
	text := strings.ReplaceAll(string(c), "$(date +%s000)", strconv.FormatInt(now.Unix(), 10)+"000")
	text = strings.ReplaceAll(text, "\\\n", " ")
	var words []string
	var word strings.Builder
	quoted, inWord := false, false
	for _, r := range text {
		switch {
		case r == '\'':
			quoted, inWord = !quoted, true
		case !quoted && (r == ' ' || r == '\n'):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words
}
