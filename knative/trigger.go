package knative

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// Trigger: eventing.knative.dev/v1
//
// Read: broker, filter, filters (which replace filter), subscriber, delivery,
// and the annotation kafka.eventing.knative.dev/delivery.order.
//
// Refused: brokerRef (Brokers of other namespaces), dependencies and injection
// by annotation.
//
// Trigger sends those events of a Broker that pass its filter to a subscriber.
// What that answers with goes to the Broker.
type Trigger struct {
	Object
	Broker     string // in the same namespace
	Filter     Filter
	Subscriber Destination
	// Delivery is the Trigger's, or else the Broker's as a whole. Without either
	// there are no retries.
	Delivery Delivery
	// Ordered: one event of a partition at a time. The default is not.
	Ordered bool

	delivery *delivery
}

// ConsumerGroup is the group that the events are read with (template
// triggers.consumergroup.template of config-kafka-features, which has this
// default).
func (t *Trigger) ConsumerGroup() string { return "knative-trigger-" + t.Namespace + "-" + t.Name }

// Filter is a condition on the attributes of an event: all of the parts that are
// given hold. The zero value lets every event pass.
type Filter struct {
	// Exact, Prefix and Suffix compare attributes by name. An empty value asks
	// nothing.
	Exact, Prefix, Suffix map[string]string
	All, Any              []Filter
	Not                   *Filter
	// CESQL is an expression in CloudEvents SQL.
	CESQL string
}

const deliveryOrder = "kafka.eventing.knative.dev/delivery.order"

type triggerSpec struct {
	Broker    string      `yaml:"broker"`
	BrokerRef unsupported `yaml:"brokerRef" why:"Brokers of other namespaces are not emulated; want broker"`
	Filter    *struct {
		Attributes map[string]string `yaml:"attributes"`
	} `yaml:"filter"`
	Filters    []filter           `yaml:"filters"`
	Subscriber *destination       `yaml:"subscriber"`
	Delivery   *formattedDelivery `yaml:"delivery"`
}

// filter as manifests hold it: exactly one of the fields.
type filter struct {
	Exact  map[string]string `yaml:"exact"`
	Prefix map[string]string `yaml:"prefix"`
	Suffix map[string]string `yaml:"suffix"`
	All    []filter          `yaml:"all"`
	Any    []filter          `yaml:"any"`
	Not    *filter           `yaml:"not"`
	CESQL  string            `yaml:"cesql"`
}

func readTrigger(root *yaml.Node, o *Object) (*Trigger, error) {
	var spec triggerSpec
	if err := readObject(root, o, "eventing.knative.dev/v1", &spec); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(annotations{deliveryOrder: true}); err != nil {
		return nil, err
	}
	switch {
	case spec.Broker == "":
		return nil, o.Errorf("spec.broker", "is missing")
	case spec.Subscriber == nil:
		return nil, o.Errorf("spec.subscriber", "is missing")
	}
	t := &Trigger{Broker: spec.Broker}
	switch v := o.Annotations[deliveryOrder]; v {
	case "", "unordered":
	case "ordered":
		t.Ordered = true
	default:
		return nil, o.Errorf("metadata.annotations."+deliveryOrder, "%q: want ordered or unordered", v)
	}
	var err error
	switch {
	case len(spec.Filters) > 0:
		if t.Filter.All, err = resolveFilters(spec.Filters, o, "spec.filters"); err != nil {
			return nil, err
		}
		if spec.Filter != nil {
			o.warnf("spec.filter", "has no effect beside filters")
		}
	case spec.Filter != nil:
		if err := checkAttributes(spec.Filter.Attributes, o, "spec.filter.attributes"); err != nil {
			return nil, err
		}
		t.Filter.Exact = spec.Filter.Attributes
	}
	if t.Subscriber, err = spec.Subscriber.resolve(o, "spec.subscriber"); err != nil {
		return nil, err
	}
	if t.delivery, err = spec.Delivery.read(o, "spec.delivery"); err != nil {
		return nil, err
	}
	t.Object = *o
	return t, nil
}

func resolveFilters(list []filter, o *Object, field string) ([]Filter, error) {
	out := make([]Filter, len(list))
	for i := range list {
		var err error
		if out[i], err = list[i].resolve(o, fmt.Sprintf("%s[%d]", field, i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// resolve checks f, found at field of o.
func (f *filter) resolve(o *Object, field string) (Filter, error) {
	out := Filter{Exact: f.Exact, Prefix: f.Prefix, Suffix: f.Suffix, CESQL: f.CESQL}
	given := 0
	for name, attributes := range map[string]map[string]string{"exact": f.Exact, "prefix": f.Prefix, "suffix": f.Suffix} {
		if len(attributes) == 0 {
			continue
		}
		given++
		if err := checkAttributes(attributes, o, field+"."+name); err != nil {
			return out, err
		}
	}
	var err error
	if len(f.All) > 0 {
		given++
		if out.All, err = resolveFilters(f.All, o, field+".all"); err != nil {
			return out, err
		}
	}
	if len(f.Any) > 0 {
		given++
		if out.Any, err = resolveFilters(f.Any, o, field+".any"); err != nil {
			return out, err
		}
	}
	if f.Not != nil {
		given++
		not, err := f.Not.resolve(o, field+".not")
		if err != nil {
			return out, err
		}
		out.Not = &not
	}
	if f.CESQL != "" {
		given++
	}
	if given != 1 {
		return out, o.Errorf(field, "want one of exact, prefix, suffix, all, any, not and cesql, got %d", given)
	}
	return out, nil
}

// checkAttributes checks the names of attributes as the webhook does.
func checkAttributes(attributes map[string]string, o *Object, field string) error {
	for name := range attributes {
		if !validExtension(name) || name[0] <= '9' {
			return o.Errorf(field+"."+name, "%q is no attribute name: want lower case letters and digits, beginning with a letter", name)
		}
	}
	return nil
}
