package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/hotdash/chatwoot-sla/internal/chatwootsim"
)

// doctor runs it as a process of its own: Go reads proxies and trusted
// certificates from the environment once.
func doctor(t *testing.T, env ...string) string {
	t.Helper()
	out, err := self(t, t.TempDir(), env, "doctor").CombinedOutput()
	if err != nil {
		t.Errorf("doctor: %v", err)
	}
	return string(out)
}

func matches(t *testing.T, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)` + p).MatchString(text) {
			t.Errorf("%q is missing in:\n%s", p, text)
		}
	}
}

// Behind a proxy, this machine may know neither Chatwoot's name nor the way to
// it.
func TestDoctorAsksThroughAProxy(t *testing.T) {
	sim := chatwootsim.New(chatwootsim.Options{Token: testToken, AccountID: testAccount})
	t.Cleanup(sim.Close)
	proxy := httptest.NewServer(sim)
	t.Cleanup(proxy.Close)
	_, port, err := net.SplitHostPort(proxy.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	chatwoot := append(settingsFor("http://chatwoot.invalid"), "NO_PROXY=", "no_proxy=")
	matches(t, doctor(t, append(chatwoot, "HTTP_PROXY="+proxy.URL)...),
		`^– Name resolution: the proxy 127\.0\.0\.1 is an address already$`, `^✓ Base URL reachable: `, `^✓ Token accepted: `)
	matches(t, doctor(t, append(chatwoot, "HTTP_PROXY=http://someone:hunter2@localhost:"+port)...),
		`^✓ Name resolution: the proxy localhost is 127\.0\.0\.1`, `^✓ Base URL reachable: `)
}

func TestDoctorDoesNotTalkTLSPastTheProxy(t *testing.T) {
	sim := chatwootsim.New(chatwootsim.Options{Token: testToken, AccountID: testAccount})
	t.Cleanup(sim.Close)
	proxy := httptest.NewServer(sim) // which does not connect to others
	t.Cleanup(proxy.Close)
	cmd := self(t, t.TempDir(), append(settingsFor("https://chatwoot.invalid"), "NO_PROXY=", "no_proxy=", "HTTPS_PROXY="+proxy.URL), "doctor")
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Error("nothing failed, and nobody was reached")
	}
	matches(t, string(out), `^– TLS: Chatwoot is asked through the proxy 127\.0\.0\.1:\d+; whether`, `^✗ Base URL reachable: `)
}

func TestDoctorTellsOfACertificateThatSoonEnds(t *testing.T) {
	for days, want := range map[int]string{
		13: `^! TLS: TLS 1\.3, certificate valid until \d{4}-\d\d-\d\d, 12 days$\n.*Renew the certificate`,
		20: `^✓ TLS: TLS 1\.3, certificate valid until \d{4}-\d\d-\d\d, 19 days$`,
	} {
		sim := chatwootsim.New(chatwootsim.Options{Token: testToken, AccountID: testAccount})
		t.Cleanup(sim.Close)
		s := httptest.NewUnstartedServer(sim)
		pair, trusted := certificate(t, time.Now().Add(time.Duration(days)*24*time.Hour))
		s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
		s.StartTLS()
		t.Cleanup(s.Close)
		matches(t, doctor(t, append(settingsFor(s.URL), "SSL_CERT_FILE="+trusted)...), want, `^✓ Base URL reachable: `)
	}
}

// certificate makes one for this machine that ends at an instant, and a file
// that makes it trusted.
func certificate(t *testing.T, end time.Time) (pair tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: end,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "trusted.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
