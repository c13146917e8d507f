// Asks a workspace through Databricks' Go SDK, unmodified and told nothing but by its environment:
// `who` prints who is logged in, `left` for how many seconds the SDK believes in its token.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/databricks/databricks-sdk-go/client"
	"github.com/databricks/databricks-sdk-go/config"
)

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: %s who|left", os.Args[0]))
	}
	ask := map[string]func(context.Context) error{"who": who, "left": left}[os.Args[1]]
	if ask == nil {
		fail(fmt.Errorf("`%s` is neither who nor left", os.Args[1]))
	}
	if err := ask(context.Background()); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func who(ctx context.Context) error {
	api, err := client.New(&config.Config{})
	if err != nil {
		return err
	}
	var me struct {
		UserName string `json:"userName"`
	}
	if err := api.Do(ctx, http.MethodGet, "/api/2.0/preview/scim/v2/Me", nil, nil, nil, &me); err != nil {
		return err
	}
	fmt.Println(me.UserName)
	return nil
}

func left(ctx context.Context) error {
	token, err := (&config.Config{}).GetTokenSource().Token(ctx)
	if err != nil {
		return err
	}
	fmt.Println(time.Until(token.Expiry).Seconds())
	return nil
}
