package queue

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// natsd is a nats-server with a configuration of its own.
type natsd struct {
	*server.Server
	opts *server.Options
}

func serverOf(t *testing.T, conf string) *natsd {
	t.Helper()
	return serverOfFile(t, file(t, "nats.conf", conf))
}

func serverOfFile(t *testing.T, path string) *natsd {
	t.Helper()
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.StoreDir, opts.SyncInterval = "127.0.0.1", server.RANDOM_PORT, t.TempDir(), time.Hour
	opts.HTTPPort, opts.NoSigs, opts.NoLog = 0, true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("nats-server is not ready")
	}
	opts.Port = s.Addr().(*net.TCPAddr).Port
	return &natsd{s, opts}
}

// reload is what an operator's edit of the configuration and SIGHUP do.
func (s *natsd) reload(t *testing.T, change func(*server.Options)) {
	t.Helper()
	s.opts = s.opts.Clone()
	change(s.opts)
	if err := s.ReloadOptions(s.opts); err != nil {
		t.Fatal(err)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func connectAs(t *testing.T, cfg Config) *Queue {
	t.Helper()
	q, err := Connect(deadline(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

// works makes streams and takes a job in; what it returns is closed with the test.
func works(t *testing.T, cfg Config) *Queue {
	t.Helper()
	q := connectAs(t, cfg)
	if _, err := q.Init(deadline(t), InitConfig{MaxBytes: 16 << 20}); err != nil {
		t.Fatal(err)
	}
	publish(t, q, Normal, job(q.id, "m", "w")) // an id that was not published before
	jobs := openJobs(t, q, JobsConfig{})
	defer jobs.Close() // the next one is for others
	leases := take(t, jobs, 1)
	bury(t, q, letter("a", 1, "w"))
	if err := Ack(deadline(t), leases); err != nil {
		t.Fatal(err)
	}
	return q
}

// refused is what Connect says; it must hold the words, and no secret.
func refused(t *testing.T, cfg Config, words ...string) {
	t.Helper()
	q, err := Connect(deadline(t), cfg)
	if err == nil {
		q.Close()
		t.Fatalf("connected with %+v", cfg)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q lacks %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "SUA") {
		t.Errorf("a secret is shown: %v", err)
	}
}

func nkey(t *testing.T) (seed, public string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	s, _ := pair.Seed()
	public, _ = pair.PublicKey()
	return string(s), public
}

func TestNkey(t *testing.T) {
	t.Parallel()
	seed, public := nkey(t)
	s := serverOf(t, `jetstream {}; authorization { users: [{nkey: `+public+`}] }`)
	works(t, Config{URL: s.ClientURL(), NkeyFile: file(t, "seed", seed+"\n")})
	refused(t, Config{URL: s.ClientURL()}, "Authorization Violation")
	other, _ := nkey(t)
	refused(t, Config{URL: s.ClientURL(), NkeyFile: file(t, "seed", other)}, "Authorization Violation")
}

func TestPasswordFile(t *testing.T) {
	t.Parallel()
	s := serverOf(t, `jetstream {}; authorization { user: u, password: "hunter2 x" }`)
	works(t, Config{URL: s.ClientURL(), User: "u", PasswordFile: file(t, "password", "hunter2 x\r\n")})
	refused(t, Config{URL: s.ClientURL(), User: "u", PasswordFile: file(t, "password", "hunter2")}, "Authorization Violation")
	// One that is replaced is read when the client connects again.
	path := file(t, "password", "hunter2 x")
	q := connectAs(t, Config{URL: s.ClientURL(), User: "u", PasswordFile: path})
	if err := os.WriteFile(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.reload(t, func(o *server.Options) { o.Password = "new" })
	eventually(t, "the client has connected again", func() bool { return q.nc.Stats().Reconnects > 0 && q.Connected() })
}

// certify makes a CA, and a server and a client certificate by it.
func certify(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	write := func(name, kind string, der []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var ca *x509.Certificate
	var signer *ecdsa.PrivateKey
	for i, name := range []string{"ca", "server", "client"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		if ca == nil {
			c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
			ca, signer = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		write(name+".pem", "CERTIFICATE", der)
		write(name+".key", "PRIVATE KEY", private)
	}
	return dir
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	dir := certify(t)
	at := func(name string) string { return filepath.Join(dir, name) }
	s := serverOf(t, fmt.Sprintf(`jetstream {}; tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }`, at("server.pem"), at("server.key"), at("ca.pem")))
	works(t, Config{URL: s.ClientURL(), TLSCA: at("ca.pem"), TLSCert: at("client.pem"), TLSKey: at("client.key")})
	refused(t, Config{URL: s.ClientURL(), TLSCert: at("client.pem"), TLSKey: at("client.key")}, "certificate signed by unknown authority")
	refused(t, Config{URL: s.ClientURL(), TLSCA: at("ca.pem")}, "tls") // "certificate required", unless the client writes once more before it reads that
	// What Config does not name.
	works(t, Config{URL: s.ClientURL(), Options: []nats.Option{nats.RootCAs(at("ca.pem")), nats.ClientCert(at("client.pem"), at("client.key"))}})

	refused(t, Config{TLSCA: at("ca.pem"), TLSCert: at("client.pem")}, "needs its key")
	refused(t, Config{TLSCert: at("client.pem"), TLSKey: at("server.key")}, at("client.pem"), "private key does not match", "belong together")
	refused(t, Config{TLSCA: at("ca.key")}, at("ca.key"), "no certificate")
}

// A leaf node has a JetStream of its own: that of the domain is the one which holds the streams.
func TestDomainBehindALeafNode(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	hub := serverOf(t, fmt.Sprintf(`server_name: hub, jetstream { domain: hub }, leafnodes { listen: "127.0.0.1:%d" }`, port))
	leaf := serverOf(t, fmt.Sprintf(`server_name: leaf, jetstream { domain: leaf }, leafnodes { remotes: [{url: "nats://127.0.0.1:%d"}] }`, port))
	eventually(t, "the leaf node is connected", func() bool { return hub.NumLeafNodes() == 1 && leaf.NumLeafNodes() == 1 })
	works(t, Config{URL: leaf.ClientURL(), Domain: "hub"})
	if err := connectAs(t, Config{URL: leaf.ClientURL()}).Check(deadline(t)); !errors.Is(err, ErrMissing) {
		t.Errorf("the leaf's own JetStream: %v", err)
	}
	if err := connectAs(t, Config{URL: hub.ClientURL()}).Check(deadline(t)); err != nil {
		t.Errorf("the hub's: %v", err)
	}
}

// Streams of another account, whose API and subjects are imported.
func TestAPIPrefix(t *testing.T) {
	t.Parallel()
	s := serverOf(t, `jetstream {}
accounts {
	HUB { jetstream: enabled, users: [{user: hub, password: hub}]
		exports: [{service: "$JS.API.>", response_type: stream}, {service: "$JS.ACK.>"}, {service: "notify.>"}] }
	APP { users: [{user: app, password: app}]
		imports: [{service: {account: HUB, subject: "$JS.API.>"}, to: "hub.api.>"}, {service: {account: HUB, subject: "$JS.ACK.>"}}, {service: {account: HUB, subject: "notify.>"}}] }
}`)
	at := func(user string) string { return strings.Replace(s.ClientURL(), "//", "//"+user+":"+user+"@", 1) }
	works(t, Config{URL: at("app"), APIPrefix: "hub.api"})
	if err := connectAs(t, Config{URL: at("app")}).Check(deadline(t)); !errors.Is(err, ErrNoJetStream) {
		t.Errorf("without the prefix: %v", err)
	}
}

func TestInboxPrefix(t *testing.T) {
	t.Parallel()
	s := serverOf(t, `jetstream {}; authorization { users: [{user: u, password: u, permissions: {subscribe: ["mine.inbox.>", "notify.workers", "notify.gates"], publish: ">"}}] }`)
	url := strings.Replace(s.ClientURL(), "//", "//u:u@", 1)
	works(t, Config{URL: url, InboxPrefix: "mine.inbox"})
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := connectAs(t, Config{URL: url}).Check(short); err == nil {
		t.Error("answers come without the inbox prefix")
	}
}

func TestUnusableConfig(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	bad := file(t, "bad", "hunter2")
	account, _ := nkeys.CreateAccount()
	seed, _ := account.Seed()
	ofAccount := file(t, "account", string(seed))
	for _, c := range []struct {
		cfg   Config
		words []string
	}{
		{Config{Domain: "hub", APIPrefix: "x"}, []string{"exclude each other"}},
		{Config{Domain: "a.b"}, []string{`"a.b"`, "single word"}},
		{Config{APIPrefix: "x."}, []string{`API prefix "x."`}},
		{Config{InboxPrefix: "x.>"}, []string{`inbox prefix "x.>"`}},
		{Config{Creds: missing}, []string{"credentials file " + missing, "no such file"}},
		{Config{Creds: bad}, []string{"credentials file " + bad, "JWT"}},
		{Config{NkeyFile: missing}, []string{"nkey file " + missing, "no such file"}},
		{Config{NkeyFile: bad}, []string{"nkey file " + bad, "no seed", "SU"}},
		{Config{NkeyFile: ofAccount}, []string{ofAccount, "not that of a user"}},
		{Config{Creds: bad, NkeyFile: bad}, []string{"exclude each other"}},
		{Config{User: "u"}, []string{"needs a password file"}},
		{Config{PasswordFile: bad}, []string{"needs a password file"}},
		{Config{User: "u", PasswordFile: missing}, []string{missing, "no such file"}},
		{Config{User: "u", PasswordFile: file(t, "empty", "\n")}, []string{"it is empty"}},
		{Config{URL: "nats://x@localhost", User: "u", PasswordFile: bad}, []string{"stands in the address"}},
		{Config{TLSCA: missing}, []string{"CA file " + missing, "no such file"}},
		{Config{TLSCert: missing, TLSKey: bad}, []string{"client certificate " + missing, "no such file"}},
		{Config{TLSCert: bad, TLSKey: bad}, []string{bad, "PEM"}},
		{Config{TLSKey: bad}, []string{"needs its key"}},
	} {
		refused(t, c.cfg, c.words...)
		if _, err := Connect(t.Context(), c.cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%v is no ErrConfig", err)
		}
	}
}
