// An OpenID provider for the test rig: zitadel's certified `op` package with the storage and the pages of
// its own example. What the example leaves out is added here: clients, users and groups from a file,
// lifetimes that a test can wait for, and a log of what the token endpoint was asked for.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

type settings struct {
	Issuer      string
	Address     string
	Certificate string
	Key         string
	// One line of JSON for each request to the token endpoint; it holds no secret.
	Log     string
	Users   map[string]*storage.User
	Groups  map[string][]string
	Clients map[string]clientSettings
}

type clientSettings struct {
	// None for a public client.
	Secret       string
	RedirectURIs []string
	// Patterns, for a confidential client on a loopback port that is not known before.
	RedirectURIGlobs []string
	Grants           []oidc.GrantType
	// In seconds; none means an hour.
	IDTokenLifetime int
}

// A client of the example's, with what the file says of it.
type client struct {
	op.Client
	settings clientSettings
}

func (c client) GrantTypes() []oidc.GrantType         { return c.settings.Grants }
func (c client) RedirectURIGlobs() []string           { return c.settings.RedirectURIGlobs }
func (c client) PostLogoutRedirectURIGlobs() []string { return nil }
func (c client) DevMode() bool                        { return false }
func (c client) IsScopeAllowed(scope string) bool     { return scope == "groups" }
func (c client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c client) IDTokenLifetime() time.Duration {
	if c.settings.IDTokenLifetime == 0 {
		return c.Client.IDTokenLifetime()
	}
	return time.Duration(c.settings.IDTokenLifetime) * time.Second
}

// The example's storage, which knows neither groups nor what a device code's refresh token is for.
type store struct {
	*storage.Storage
	settings *settings
}

func (s store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	found, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return client{found, s.settings.Clients[id]}, nil
}

func (s store) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, request op.IDTokenRequest, scopes []string) error {
	if err := s.Storage.SetUserinfoFromRequest(ctx, info, request, scopes); err != nil {
		return err
	}
	if slices.Contains(scopes, "groups") {
		info.AppendClaims("groups", s.settings.Groups[request.GetSubject()])
	}
	return nil
}

func (s store) CreateAccessAndRefreshTokens(ctx context.Context, request op.TokenRequest, current string) (string, string, time.Time, error) {
	// The example takes the client from a request of its own kind only, and would keep this refresh
	// token for no client at all.
	if device, ok := request.(*op.DeviceAuthorizationState); ok {
		request = &storage.AuthRequest{ApplicationID: device.ClientID, UserID: device.Subject, Scopes: device.Scopes}
	}
	return s.Storage.CreateAccessAndRefreshTokens(ctx, request, current)
}

// Writes down what the token endpoint was asked for, and how it answered.
type logged struct {
	http.Handler
	lock sync.Mutex
	file *os.File
}

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func (l *logged) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	if request.URL.Path != "/oauth/token" {
		l.Handler.ServeHTTP(writer, request)
		return
	}
	// Before the handler reads it: it works on a copy of the request.
	if err := request.ParseForm(); err != nil {
		http.Error(writer, err.Error(), http.StatusBadRequest)
		return
	}
	id, _, confidential := request.BasicAuth()
	if !confidential {
		id = request.PostForm.Get("client_id")
	}
	answer := &status{writer, http.StatusOK}
	l.Handler.ServeHTTP(answer, request)
	line, _ := json.Marshal(map[string]any{
		"grant":  request.PostForm.Get("grant_type"),
		"client": id,
		"status": answer.code,
	})
	l.lock.Lock()
	defer l.lock.Unlock()
	fmt.Fprintf(l.file, "%s\n", line)
}

func run(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var settings settings
	if err := json.Unmarshal(text, &settings); err != nil {
		return err
	}
	for id, client := range settings.Clients {
		if client.Secret == "" {
			storage.RegisterClients(storage.NativeClient(id, client.RedirectURIs...))
		} else {
			storage.RegisterClients(storage.WebClient(id, client.Secret, client.RedirectURIs...))
		}
	}
	users, err := userStore(settings.Users)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(settings.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	router := exampleop.SetupServer(settings.Issuer, store{storage.NewStorage(users), &settings}, logger, false)
	server := &http.Server{Addr: settings.Address, Handler: &logged{Handler: router, file: file}}
	return server.ListenAndServeTLS(settings.Certificate, settings.Key)
}

// The example reads its users from a file only.
func userStore(users map[string]*storage.User) (storage.UserStore, error) {
	file, err := os.CreateTemp("", "users")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	if err := json.NewEncoder(file).Encode(users); err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return storage.StoreFromFile(file.Name())
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: openid-provider SETTINGS")
	}
	log.Fatal(run(os.Args[1]))
}
