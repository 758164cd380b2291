package knative

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Service: serving.knative.dev/v1
//
// Read: one container with image, env (name and value), ports, readinessProbe
// (httpGet or tcpSocket); timeoutSeconds, containerConcurrency; the annotations
// of the autoscaler (scaling.go).
//
// Ignored: resources, security contexts, image pull settings, liveness probes,
// service accounts: an instance is a process with all of the machine.
//
// Refused: several containers, volumes, env from secrets, config maps or
// fields, traffic splitting, another autoscaler than Knative's own.
//
// Service runs a function.
type Service struct {
	Object
	Image string
	// Env in the order of the manifest.
	Env []EnvVar
	// Port is the containerPort, default 8080.
	Port int
	// ReadyPath is the path that the readiness probe asks for; "" when it is a
	// TCP probe, which is the default.
	ReadyPath string
	// Timeout of one request, default 300 s.
	Timeout time.Duration
	// Concurrency is the number of requests that one instance is given at a
	// time; 0, the default, is no bound.
	Concurrency int
	// MinScale and MaxScale bound the number of instances; MaxScale 0 is no
	// bound.
	MinScale, MaxScale int
	// InitialScale is the number that a revision begins with, at least MinScale;
	// default 1.
	InitialScale int
	Autoscaling  Autoscaling
}

// EnvVar is one environment variable of a container.
type EnvVar struct{ Name, Value string }

// Getenv returns the value of a variable of the container, "" when absent.
func (s *Service) Getenv(name string) string {
	if i := slices.IndexFunc(s.Env, func(v EnvVar) bool { return v.Name == name }); i >= 0 {
		return s.Env[i].Value
	}
	return ""
}

type serviceSpec struct {
	Template *struct {
		Metadata *struct {
			Name        string            `yaml:"name"`
			Labels      map[string]string `yaml:"labels"`
			Annotations map[string]string `yaml:"annotations"`
		} `yaml:"metadata"`
		Spec *struct {
			Containers           []container `yaml:"containers"`
			TimeoutSeconds       *int        `yaml:"timeoutSeconds"`
			ContainerConcurrency *int        `yaml:"containerConcurrency"`
			ServiceAccountName   ignored     `yaml:"serviceAccountName"`
			ImagePullSecrets     ignored     `yaml:"imagePullSecrets"`
			EnableServiceLinks   ignored     `yaml:"enableServiceLinks"`
			Volumes              unsupported `yaml:"volumes" why:"volumes are not emulated"`
			InitContainers       unsupported `yaml:"initContainers" why:"init containers are not emulated"`
		} `yaml:"spec"`
	} `yaml:"template"`
	Traffic unsupported `yaml:"traffic" why:"traffic splitting is not emulated: the latest revision gets all requests"`
}

type container struct {
	Name  string `yaml:"name"`
	Image string `yaml:"image"`
	Env   []struct {
		Name      string      `yaml:"name"`
		Value     string      `yaml:"value"`
		ValueFrom unsupported `yaml:"valueFrom" why:"values from secrets, config maps and fields are not emulated; give a value"`
	} `yaml:"env"`
	Ports []struct {
		Name          string `yaml:"name"`
		ContainerPort int    `yaml:"containerPort"`
		Protocol      string `yaml:"protocol"`
	} `yaml:"ports"`
	ReadinessProbe *struct {
		HTTPGet *struct {
			Path   string  `yaml:"path"`
			Port   *int    `yaml:"port"`
			Scheme ignored `yaml:"scheme"`
		} `yaml:"httpGet"`
		TCPSocket *struct {
			Port *int `yaml:"port"`
		} `yaml:"tcpSocket"`
		InitialDelaySeconds ignored `yaml:"initialDelaySeconds"`
		PeriodSeconds       ignored `yaml:"periodSeconds"`
		TimeoutSeconds      ignored `yaml:"timeoutSeconds"`
		SuccessThreshold    ignored `yaml:"successThreshold"`
		FailureThreshold    ignored `yaml:"failureThreshold"`
	} `yaml:"readinessProbe"`
	EnvFrom                  unsupported `yaml:"envFrom" why:"values from secrets and config maps are not emulated; use env"`
	VolumeMounts             unsupported `yaml:"volumeMounts" why:"volumes are not emulated"`
	Command                  unsupported `yaml:"command" why:"the command of an image is not emulated; the function is named by the variable FUNCTION"`
	Args                     unsupported `yaml:"args" why:"the arguments of an image are not emulated; the function is named by the variable FUNCTION"`
	LivenessProbe            ignored     `yaml:"livenessProbe"`
	StartupProbe             ignored     `yaml:"startupProbe"`
	Resources                ignored     `yaml:"resources"`
	SecurityContext          ignored     `yaml:"securityContext"`
	ImagePullPolicy          ignored     `yaml:"imagePullPolicy"`
	TerminationMessagePath   ignored     `yaml:"terminationMessagePath"`
	TerminationMessagePolicy ignored     `yaml:"terminationMessagePolicy"`
}

// serviceAnnotations are those of a Service and of its template, besides those of
// the autoscaler, which only the template may have.
var serviceAnnotations = annotations{
	"serving.knative.dev/rollout-duration":               false,
	"serving.knative.dev/revision-gc":                    false,
	"serving.knative.dev/progress-deadline":              false,
	"networking.knative.dev/ingress.class":               false,
	"networking.knative.dev/certificate.class":           false,
	"networking.knative.dev/disable-auto-tls":            false,
	"networking.knative.dev/disable-external-domain-tls": false,
	"networking.knative.dev/http-protocol":               false,
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

func readService(root *yaml.Node, o *Object) (*Service, error) {
	var spec serviceSpec
	if err := readObject(root, o, "serving.knative.dev/v1", &spec); err != nil {
		return nil, err
	}
	if err := o.checkNoScaling(); err != nil {
		return nil, err
	}
	if err := o.checkAnnotations(serviceAnnotations); err != nil {
		return nil, err
	}
	if strings.Contains(o.Name, ".") || len(o.Name) > 63 {
		return nil, o.Errorf("metadata.name", "%q: a Service's name is one label of a host name, without dots, at most 63 characters", o.Name)
	}
	if spec.Template == nil || spec.Template.Spec == nil {
		return nil, o.Errorf("spec.template.spec", "is missing")
	}
	s := &Service{Port: 8080, Timeout: 300 * time.Second}
	pod := spec.Template.Spec
	if len(pod.Containers) != 1 {
		return nil, o.Errorf("spec.template.spec.containers", "want one container, got %d", len(pod.Containers))
	}
	if pod.TimeoutSeconds != nil {
		if *pod.TimeoutSeconds < 1 || *pod.TimeoutSeconds > 600 {
			return nil, o.Errorf("spec.template.spec.timeoutSeconds", "%d: want 1 to 600", *pod.TimeoutSeconds)
		}
		s.Timeout = time.Duration(*pod.TimeoutSeconds) * time.Second
	}
	if pod.ContainerConcurrency != nil {
		if *pod.ContainerConcurrency < 0 || *pod.ContainerConcurrency > 1000 {
			return nil, o.Errorf("spec.template.spec.containerConcurrency", "%d: want 0 to 1000", *pod.ContainerConcurrency)
		}
		s.Concurrency = *pod.ContainerConcurrency
	}
	if err := s.readContainer(&pod.Containers[0], o); err != nil {
		return nil, err
	}
	var annotations map[string]string
	if spec.Template.Metadata != nil {
		annotations = spec.Template.Metadata.Annotations
	}
	if err := s.readScale(annotations, o); err != nil {
		return nil, err
	}
	s.Object = *o
	return s, nil
}

func (s *Service) readContainer(c *container, o *Object) error {
	const at = "spec.template.spec.containers[0]"
	if c.Image == "" {
		return o.Errorf(at+".image", "is missing")
	}
	s.Image = c.Image
	seen := make(map[string]bool)
	for i, e := range c.Env {
		field := at + ".env[" + strconv.Itoa(i) + "]"
		switch {
		case !envName.MatchString(e.Name):
			return o.Errorf(field+".name", "%q is no name of an environment variable", e.Name)
		case seen[e.Name]:
			return o.Errorf(field+".name", "%s is given twice", e.Name)
		case slices.Contains(reservedEnv, e.Name):
			return o.Errorf(field+".name", "%s is set by Knative: a cluster refuses it here", e.Name)
		}
		seen[e.Name] = true
		s.Env = append(s.Env, EnvVar{e.Name, e.Value})
	}
	switch len(c.Ports) {
	case 0:
	case 1:
		p := c.Ports[0]
		if p.ContainerPort < 1 || p.ContainerPort > 65535 {
			return o.Errorf(at+".ports[0].containerPort", "%d: want 1 to 65535", p.ContainerPort)
		}
		if p.Name != "" && p.Name != "http1" && p.Name != "h2c" {
			return o.Errorf(at+".ports[0].name", "%q: want http1 or h2c", p.Name)
		}
		if p.Name == "h2c" {
			return o.Errorf(at+".ports[0].name", "h2c is not emulated; use http1")
		}
		if p.Protocol != "" && p.Protocol != "TCP" {
			return o.Errorf(at+".ports[0].protocol", "%q: want TCP", p.Protocol)
		}
		s.Port = p.ContainerPort
	default:
		return o.Errorf(at+".ports", "want one port, got %d", len(c.Ports))
	}
	if p := c.ReadinessProbe; p != nil && p.HTTPGet != nil {
		if p.TCPSocket != nil {
			return o.Errorf(at+".readinessProbe", "want httpGet or tcpSocket, not both")
		}
		s.ReadyPath = p.HTTPGet.Path
		if s.ReadyPath == "" {
			s.ReadyPath = "/"
		}
		if s.ReadyPath[0] != '/' {
			return o.Errorf(at+".readinessProbe.httpGet.path", "%q: want a path that begins with /", s.ReadyPath)
		}
	}
	return nil
}

// reservedEnv are the variables that Serving sets itself.
var reservedEnv = []string{"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
