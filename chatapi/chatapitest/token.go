package chatapitest

import (
	"crypto/rand"
	"maps"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
)

// grant is what the server remembers of a token.
type grant struct {
	client string // whom it was issued to
	expiry time.Time
}

// tokenReply is what Keycloak answers to a client credentials grant.
type tokenReply struct {
	AccessToken      string `json:"access_token"`
	ExpiresIn        int    `json:"expires_in"`
	RefreshExpiresIn int    `json:"refresh_expires_in"`
	TokenType        string `json:"token_type"`
	NotBeforePolicy  int    `json:"not-before-policy"`
	Scope            string `json:"scope"`
}

// tokenError is RFC 6749 section 5.2.
type tokenError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

// serveToken answers a request for a token: the credential and the
// grant type as form fields in the body. Basic authentication, which Keycloak can
// be set to take, is refused: the document does not show it.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code, description string) {
		s.count(func(c *Counts) { c.TokensRefused++ })
		writeToken(w, status, tokenError{code, description})
	}
	if status := s.tokensDown(); status != 0 {
		refuse(status, "temporarily_unavailable", "the server is scripted to issue no tokens")
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(http.StatusMethodNotAllowed, "invalid_request", "only POST is served here")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		refuse(http.StatusBadRequest, "invalid_request", "the body is not a form")
		return
	}
	client := r.PostForm.Get("client_id")
	if !s.wait(r, s.tokenDelayOf(client)) {
		return
	}
	secret, known := s.secretOf(client)
	switch {
	case r.Header.Get("Authorization") != "", !known, r.PostForm.Get("client_secret") != secret:
		refuse(http.StatusUnauthorized, "invalid_client", "Invalid client or Invalid client credentials")
	case r.PostForm.Get("grant_type") != "client_credentials":
		refuse(http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant_type")
	default:
		writeToken(w, http.StatusOK, tokenReply{
			AccessToken: s.issue(client),
			ExpiresIn:   max(1, int(s.cfg.TokenLifetime/time.Second)),
			TokenType:   "Bearer",
			Scope:       "profile email",
		})
	}
}

// RevokeTokens makes every token that was issued so far invalid, as when the
// realm's keys are changed.
func (s *Server) RevokeTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

// SetTokensDown answers every token request with status until it is called with
// 0. Tokens that were issued stay valid.
func (s *Server) SetTokensDown(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokenStatus = status
}

// SetTokenDelay makes every token request of the client, or of all for "", take so long from now on, as
// of a token server that is overloaded.
func (s *Server) SetTokenDelay(client string, d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokenDelay[client] = d
}

func (s *Server) tokenDelayOf(client string) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return max(s.tokenDelay[client], s.tokenDelay[""])
}

// SetSecret replaces a client's secret: the old one gets no token from now on. Tokens that were
// issued stay valid.
func (s *Server) SetSecret(client, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Credentials[client] = secret
}

func (s *Server) secretOf(client string) (secret string, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret, known = s.cfg.Credentials[client]
	return secret, known
}

func (s *Server) tokensDown() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tokenStatus
}

func (s *Server) issue(client string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(s.tokens, func(_ string, g grant) bool { return !now.Before(g.expiry) })
	token := "token-" + rand.Text()
	s.tokens[token] = grant{client, now.Add(s.cfg.TokenLifetime)}
	s.counts.TokensIssued++
	return token
}

// holder returns the client that holds the token, and whether the token is valid.
func (s *Server) holder(token string) (client string, valid bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, known := s.tokens[token]
	return g.client, known && time.Now().Before(g.expiry)
}

// permitted reports whether the client may call for the project.
func (s *Server) permitted(client, project string) bool {
	owner, owned := s.cfg.Projects[project]
	return !owned || owner == client
}

func writeToken(w http.ResponseWriter, status int, body any) {
	text, _ := json.Marshal(body)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text)
}
