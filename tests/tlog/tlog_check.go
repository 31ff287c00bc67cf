// SPDX-License-Identifier: Apache-2.0

// Go's own transparency log (golang.org/x/mod/sumdb) on what tlog/ computes.
//
//	tlog_check vectors          writes tests/unit/tlog_vectors.inc
//	tlog_check proofs           checks what "tlog_say proofs" says, on standard input
//	tlog_check proof VKEY FILE  checks a proof that "tlog_say log" made
//	tlog_check sign DIR         writes notes of each algorithm, and their vkeys
package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type records struct {
	hashes []tlog.Hash
	size   int64
}

func (r *records) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = r.hashes[index]
	}
	return hashes, nil
}

func entry(index int64) []byte {
	return []byte(fmt.Sprintf("entry %d", index))
}

func (r *records) growTo(size int64) {
	for ; r.size < size; r.size++ {
		hashes, err := tlog.StoredHashes(r.size, entry(r.size), r)
		must(err)
		r.hashes = append(r.hashes, hashes...)
	}
}

func (r *records) root(size int64) tlog.Hash {
	root, err := tlog.TreeHash(size, r)
	must(err)
	return root
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// For each size 4 bytes of the root, and 4 bytes of the SHA-256 of some proofs: their hashes, each behind its number.
func vectors() {
	const sizes = 600
	var r records
	r.growTo(sizes)
	fmt.Println("/* Made by \"tlog_check vectors\" of golang.org/x/mod: sizes 1, 2, …, a root and the digest of proofs. */")
	for size := int64(1); size <= sizes; size++ {
		digest := sha256.New()
		for i := int64(0); i < 4; i++ {
			index := (size*7919*(2*i+1) + 31*i) % size
			inclusion, err := tlog.ProveRecord(size, index, &r)
			must(err)
			consistency, err := tlog.ProveTree(size, index+1, &r)
			must(err)
			for _, proof := range [][]tlog.Hash{inclusion, consistency} {
				digest.Write([]byte{byte(len(proof))})
				for _, hash := range proof {
					digest.Write(hash[:])
				}
			}
		}
		root := r.root(size)
		fmt.Printf("{0x%08x, 0x%08x},", binary.BigEndian.Uint32(root[:]), binary.BigEndian.Uint32(digest.Sum(nil)))
		if size%4 == 0 {
			fmt.Println()
		} else {
			fmt.Print(" ")
		}
	}
}

func parse(fields []string) (hashes []tlog.Hash) {
	for _, field := range fields {
		bytes, err := hex.DecodeString(field)
		must(err)
		var hash tlog.Hash
		copy(hash[:], bytes)
		hashes = append(hashes, hash)
	}
	return
}

func same(line string, got, want []tlog.Hash) {
	if len(got) != len(want) {
		log.Fatalf("%.60s: %d hashes, not %d", line, len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			log.Fatalf("%.60s: hash %d differs", line, i)
		}
	}
}

func checkProofs() {
	var r records
	count := 0
	scanner := bufio.NewScanner(os.Stdin)
	for scanner.Scan() {
		line := scanner.Text()
		fields := strings.Fields(line)
		a, err := strconv.ParseInt(fields[1], 10, 64)
		must(err)
		size, err := strconv.ParseInt(fields[2], 10, 64)
		must(err)
		got := parse(fields[3:])
		r.growTo(size)
		root := r.root(size)
		switch fields[0] {
		case "root":
			same(line, got, []tlog.Hash{root})
		case "inclusion":
			want, err := tlog.ProveRecord(size, a, &r)
			must(err)
			same(line, got, want)
			must(tlog.CheckRecord(got, size, root, a, tlog.RecordHash(entry(a))))
		case "consistency":
			want, err := tlog.ProveTree(size, a, &r)
			must(err)
			same(line, got, want)
			must(tlog.CheckTree(got, size, root, a, r.root(a)))
		default:
			log.Fatalf("what is %q?", line)
		}
		count++
	}
	must(scanner.Err())
	fmt.Println(count, "checked")
}

// What x/mod lacks for keys of type 0x02.
type ecdsaVerifier struct {
	name string
	hash uint32
	key  *ecdsa.PublicKey
}

func (v *ecdsaVerifier) Name() string    { return v.name }
func (v *ecdsaVerifier) KeyHash() uint32 { return v.hash }
func (v *ecdsaVerifier) Verify(text, signature []byte) bool {
	digest := sha256.Sum256(text)
	return ecdsa.VerifyASN1(v.key, digest[:], signature)
}

func newVerifier(vkey string) note.Verifier {
	parts := strings.SplitN(strings.TrimSpace(vkey), "+", 3)
	key, err := base64.StdEncoding.DecodeString(parts[2])
	must(err)
	if key[0] == 1 {
		v, err := note.NewVerifier(strings.TrimSpace(vkey))
		must(err)
		return v
	}
	id := sha256.Sum256(key[1:])
	if hex.EncodeToString(id[:4]) != parts[1] {
		log.Fatalf("the id of %q is another key's", vkey)
	}
	public, err := x509.ParsePKIXPublicKey(key[1:])
	must(err)
	return &ecdsaVerifier{parts[0], binary.BigEndian.Uint32(id[:]), public.(*ecdsa.PublicKey)}
}

func read(path string) []byte {
	bytes, err := os.ReadFile(path)
	must(err)
	return bytes
}

// The entry, after the whole proof was checked.
func checkProof(vkeyPath, path string) {
	head, checkpoint, found := bytes.Cut(read(path), []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || lines[0] != "c2sp.org/tlog-proof@v1" {
		log.Fatalf("%s is no proof", path)
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	must(err)
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	must(err)
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		must(err)
		proof = append(proof, hash)
	}
	opened, err := note.Open(checkpoint, note.VerifierList(newVerifier(string(read(vkeyPath)))))
	must(err)
	text := strings.Split(opened.Text, "\n")
	size, err := strconv.ParseInt(text[1], 10, 64)
	must(err)
	root, err := tlog.ParseHash(text[2])
	must(err)
	must(tlog.CheckRecord(proof, size, root, index, tlog.RecordHash(entry)))
	fmt.Println(string(entry))
}

type ecdsaSigner struct {
	ecdsaVerifier
	private *ecdsa.PrivateKey
}

func (s *ecdsaSigner) Sign(text []byte) ([]byte, error) {
	digest := sha256.Sum256(text)
	return ecdsa.SignASN1(rand.Reader, s.private, digest[:])
}

func sign(dir string) {
	const name = "example.org/go"
	text := "first\n\nlast, é\n"
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	must(err)
	ed25519, err := note.NewSigner(skey)
	must(err)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	der, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	must(err)
	id := sha256.Sum256(der)
	ecdsa := &ecdsaSigner{ecdsaVerifier{name, binary.BigEndian.Uint32(id[:]), &private.PublicKey}, private}
	both, err := note.Sign(&note.Note{Text: text}, ed25519, ecdsa)
	must(err)
	must(os.WriteFile(filepath.Join(dir, "note"), both, 0o666))
	must(os.WriteFile(filepath.Join(dir, "ed25519"), []byte(vkey), 0o666))
	must(os.WriteFile(filepath.Join(dir, "ecdsa"), []byte(fmt.Sprintf("%s+%08x+%s", name, ecdsa.hash,
		base64.StdEncoding.EncodeToString(append([]byte{2}, der...)))), 0o666))
}

func main() {
	log.SetFlags(0)
	switch {
	case len(os.Args) == 2 && os.Args[1] == "vectors":
		vectors()
	case len(os.Args) == 2 && os.Args[1] == "proofs":
		checkProofs()
	case len(os.Args) == 4 && os.Args[1] == "proof":
		checkProof(os.Args[2], os.Args[3])
	case len(os.Args) == 3 && os.Args[1] == "sign":
		sign(os.Args[2])
	default:
		log.Fatal("usage: tlog_check vectors | proofs | proof VKEY FILE | sign DIR")
	}
}
