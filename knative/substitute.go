package knative

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// variable is what is replaced: ${NAME}, ${NAME:-default}. $${ stands for ${.
var variable = regexp.MustCompile(`\$?\$\{[^}]*\}?`)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// substitute puts the values of variables into every text below n. A value does
// not become structure, whatever is in it; one that is all of a text without
// quotes may become a number or a boolean, as if it were written there.
func (l *loader) substitute(file string, n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "${") {
		var err error
		value := variable.ReplaceAllStringFunc(n.Value, func(m string) string {
			v, e := l.expand(m)
			if e != nil && err == nil {
				err = &Error{File: file, Line: n.Line, Msg: e.Error()}
			}
			return v
		})
		if err != nil {
			return err
		}
		n.Value = value
		if n.Style == 0 {
			n.Tag = "" // the type is that of the new text
		}
	}
	for _, c := range n.Content {
		if err := l.substitute(file, c); err != nil {
			return err
		}
	}
	return nil
}

// expand returns what stands for one match of variable.
func (l *loader) expand(m string) (string, error) {
	if strings.HasPrefix(m, "$$") {
		return m[1:], nil
	}
	body, closed := strings.CutSuffix(m[len("${"):], "}")
	name, fallback, hasFallback := strings.Cut(body, ":-")
	if !closed || !variableName.MatchString(name) {
		return "", fmt.Errorf("%q is neither ${NAME} nor ${NAME:-default}; $${ stands for ${", m)
	}
	value, ok := l.lookupEnv(name)
	switch {
	case hasFallback && value == "":
		return fallback, nil // as in a shell, also of a variable that is empty
	case !ok:
		return "", fmt.Errorf("the environment variable %s is not set; ${%s:-default} would give one", name, name)
	}
	return value, nil
}
