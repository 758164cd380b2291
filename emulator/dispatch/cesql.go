package dispatch

import (
	"fmt"

	cesql "github.com/cloudevents/sdk-go/sql/v2"
	"github.com/cloudevents/sdk-go/sql/v2/parser"
	"github.com/cloudevents/sdk-go/sql/v2/utils"
)

type cesqlFilter struct{ expression cesql.Expression }

// CESQL takes events for which an expression in CloudEvents SQL is true, or is
// cast to true. An expression that fails on an event does not take it.
func CESQL(expression string) (filter Filter, err error) {
	defer func() {
		// The SDK's parser panics on some that are malformed.
		if p := recover(); p != nil {
			filter, err = nil, fmt.Errorf("cesql %q: malformed", expression)
		}
	}()
	parsed, err := parser.Parse(expression)
	if err != nil {
		return nil, fmt.Errorf("cesql %q: %w", expression, err)
	}
	return cesqlFilter{parsed}, nil
}

func (f cesqlFilter) match(m *message) (bool, error) {
	e, err := m.CloudEvent()
	if err != nil {
		return false, nil // the SDK knows no such event
	}
	value, err := f.expression.Evaluate(e)
	if err != nil {
		return false, nil
	}
	truth, err := utils.Cast(value, cesql.BooleanType)
	if err != nil {
		return false, nil
	}
	return truth == true, nil
}
