#!/bin/sh
# What could stand in the place of the last word, for the completion of kubectl, which finds this as
# `kubectl_complete-vaulttoken` on PATH and runs it with what was typed behind `kubectl vaulttoken`.
exec kubectl-vaulttoken __complete "$@"
