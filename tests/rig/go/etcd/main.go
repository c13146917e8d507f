// The real etcd, built from its published module for the test rig. It has a module of its own because
// Kubernetes pins other versions of what the server needs.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
