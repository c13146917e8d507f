// The real kube-controller-manager, built from its published module for the test rig: it fills the
// aggregated cluster roles, makes the `default` service accounts and collects garbage.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

func main() {
	os.Exit(cli.Run(app.NewControllerManagerCommand()))
}
