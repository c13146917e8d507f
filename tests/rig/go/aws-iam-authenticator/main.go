//go:build never

// Names the program that `make bench` builds, so that `go mod tidy` keeps what it needs.
package main

import _ "sigs.k8s.io/aws-iam-authenticator/cmd/aws-iam-authenticator"
