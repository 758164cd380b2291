// Package knative holds the manifests that DataSurge is deployed with and reads
// such manifests strictly.
//
// Strictly means that a manifest is either understood as a cluster would
// understand it or refused: an unknown kind, an unknown field, a wrong type, a
// value that the cluster's admission would not take are errors that name the
// file, the line and the field. Fields that mean something to a cluster and
// nothing on one machine (resources, security contexts) are read over and listed
// in [Object.Ignored]. Kinds that describe the cluster itself are passed over
// and listed in [Set].
//
// What a cluster takes and nobody can mean is among [Set.Warnings]. Variables of
// the environment are replaced before anything is checked ([Reader]). Which
// changes of a set a cluster would refuse is for [Set.CheckUpdate] to say.
//
// Each kind has a file, which opens with what is read, ignored and refused, and
// holds the defaults that Knative or Strimzi would fill in.
package knative
