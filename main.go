// Command xvault is a multi-tenant backup platform: the hub, the worker and the
// client are all this one binary.
package main

import (
	"os"

	"xvault/cmd"
)

func main() { os.Exit(cmd.Main()) }
