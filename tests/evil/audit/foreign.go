// SPDX-License-Identifier: Apache-2.0

// Checks logs and proofs of vdiskfs with Go's implementation of signed notes and transparency logs
// (golang.org/x/mod/sumdb/note and tlog), which shares nothing with this project: every checkpoint is
// opened, every head of the tree computed anew, every proof checked and, for all frames, made as well.
// Commands come on standard input, one per line, words separated by tabs; each is answered by "yes" or "no" and why:
//
//	log DIR                             every checkpoint of a session
//	same DIR PROOF                      is this the proof that Go makes?
//	inclusion PROOF FRAME KEY
//	consistency PROOF ANCHOR KEY
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const goTree = "go.sum database tree"

// The checkpoint in a text that a signature was found right for.
func tree(text string) (string, tlog.Tree, error) {
	origin, rest, found := strings.Cut(text, "\n")
	if !found || !strings.HasPrefix(origin, "vdiskfs/") {
		return "", tlog.Tree{}, errors.New("no origin of ours")
	}
	parsed, err := tlog.ParseTree([]byte(goTree + "\n" + rest)) // it wants its own first line
	return origin, parsed, err
}

func open(msg []byte, key string) (string, tlog.Tree, error) {
	verifier, err := note.NewVerifier(strings.TrimSpace(key))
	if err != nil {
		return "", tlog.Tree{}, err
	}
	opened, err := note.Open(msg, note.VerifierList(verifier))
	if err != nil {
		return "", tlog.Tree{}, err
	}
	return tree(opened.Text)
}

// A tree in memory.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(h)) {
			return nil, errors.New("beyond the tree")
		}
		out[i] = h[x]
	}
	return out, nil
}

type sealed struct {
	frames [][]byte
	tree   hashes
	keys   []string // of each frame's epoch, as a note's
}

func read(dir string) (*sealed, error) {
	names, err := filepath.Glob(filepath.Join(dir, "[0-9]*.vlog"))
	if err != nil || len(names) == 0 {
		return nil, errors.New("no log")
	}
	sort.Strings(names)
	s := &sealed{}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for len(data) >= 192 {
			length := int(binary.LittleEndian.Uint32(data[8:]))
			if length < 192 || length > len(data) {
				break // a frame that was never whole
			}
			frame := data[:length]
			stored, err := tlog.StoredHashes(int64(len(s.frames)), frame, s.tree)
			if err != nil {
				return nil, err
			}
			id := fmt.Sprintf("%x", frame[72:88])
			origin := fmt.Sprintf("vdiskfs/%s-%s-%s-%s-%s", id[:8], id[8:12], id[12:16], id[16:20], id[20:])
			key, err := note.NewEd25519VerifierKey(origin, frame[128:160])
			if err != nil {
				return nil, err
			}
			s.tree = append(s.tree, stored...)
			s.frames = append(s.frames, frame)
			s.keys = append(s.keys, key)
			data = data[length:]
		}
	}
	return s, nil
}

// The notes of all files of checkpoints.
func notes(dir string) ([][]byte, error) {
	names, err := filepath.Glob(filepath.Join(dir, "checkpoints*"))
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, part := range bytes.SplitAfter(data, []byte("=\nvdiskfs/")) {
			if len(part) == 0 {
				continue
			}
			if len(out) > 0 && !bytes.HasPrefix(part, []byte("vdiskfs/")) {
				part = append([]byte("vdiskfs/"), part...)
			}
			out = append(out, bytes.TrimSuffix(part, []byte("vdiskfs/")))
		}
	}
	return out, nil
}

func checkLog(dir string) (string, error) {
	s, err := read(dir)
	if err != nil {
		return "", err
	}
	if first, err := os.ReadFile(filepath.Join(dir, "key.pub")); err != nil || strings.TrimSpace(string(first)) != s.keys[0] {
		return "", errors.New("key.pub is not the first frame's key")
	}
	all, err := notes(dir)
	if err != nil {
		return "", err
	}
	for i, msg := range all {
		_, text, _ := bytes.Cut(msg, []byte("\n"))
		number, _, _ := bytes.Cut(text, []byte("\n"))
		n, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil || n < 1 || n > int64(len(s.frames)) {
			return "", fmt.Errorf("checkpoint %d covers %s frames", i, number)
		}
		_, signed, err := open(msg, s.keys[n-1])
		if err != nil {
			return "", fmt.Errorf("checkpoint %d: %v", i, err)
		}
		head, err := tlog.TreeHash(n, s.tree)
		if err != nil || signed.N != n || signed.Hash != head {
			return "", fmt.Errorf("checkpoint %d has another head (%v)", i, err)
		}
	}
	return fmt.Sprintf("%d checkpoints over %d frames", len(all), len(s.frames)), nil
}

type proof struct {
	kind   string // "index" or "old"
	number int64
	path   []tlog.Hash
	note   []byte
}

func readProof(name string) (*proof, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	head, msg, found := bytes.Cut(data, []byte("\n\n"))
	if !found {
		return nil, errors.New("no checkpoint")
	}
	lines := strings.Split(string(head), "\n")
	if lines[0] == "c2sp.org/tlog-proof@v1" && len(lines) > 1 {
		lines = lines[1:]
	} else if !strings.HasPrefix(lines[0], "old ") {
		return nil, errors.New("no proof")
	}
	p := &proof{note: msg}
	var number string
	p.kind, number, _ = strings.Cut(lines[0], " ")
	if p.number, err = strconv.ParseInt(number, 10, 64); err != nil || strconv.FormatInt(p.number, 10) != number {
		return nil, errors.New("no number")
	}
	for _, line := range lines[1:] {
		raw, err := base64.StdEncoding.Strict().DecodeString(line)
		if err != nil || len(raw) != tlog.HashSize {
			return nil, errors.New("no hash")
		}
		p.path = append(p.path, *(*tlog.Hash)(raw))
	}
	return p, nil
}

func checkInclusion(name, frame, key string) error {
	p, err := readProof(name)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(frame)
	if err != nil {
		return err
	}
	_, signed, err := open(p.note, key)
	if err != nil {
		return err
	}
	if p.kind != "index" {
		return errors.New("another kind of proof")
	}
	return tlog.CheckRecord(p.path, signed.N, signed.Hash, p.number, tlog.RecordHash(data))
}

func checkConsistency(name, anchor, key string) error {
	p, err := readProof(name)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(anchor)
	if err != nil {
		return err
	}
	text, _, _ := strings.Cut(string(data), "\n\n") // an anchor is trusted
	earlierOrigin, earlier, err := tree(text + "\n")
	if err != nil {
		return err
	}
	origin, signed, err := open(p.note, key)
	if err != nil {
		return err
	}
	if p.kind != "old" || p.number != earlier.N || origin != earlierOrigin {
		return errors.New("a proof of something else")
	}
	return tlog.CheckTree(p.path, signed.N, signed.Hash, earlier.N, earlier.Hash)
}

// Is our proof the one that Go makes?
func sameProof(dir, name string) error {
	s, err := read(dir)
	if err != nil {
		return err
	}
	p, err := readProof(name)
	if err != nil {
		return err
	}
	_, text, _ := strings.Cut(string(p.note), "\n")
	number, _, _ := strings.Cut(text, "\n")
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return err
	}
	var made []tlog.Hash
	if p.kind == "index" {
		made, err = tlog.ProveRecord(n, p.number, s.tree)
	} else {
		made, err = tlog.ProveTree(n, p.number, s.tree)
	}
	if err != nil {
		return err
	}
	if len(made) != len(p.path) {
		return fmt.Errorf("%d hashes, Go makes %d", len(p.path), len(made))
	}
	for i := range made {
		if made[i] != p.path[i] {
			return fmt.Errorf("hash %d differs", i)
		}
	}
	return nil
}

func run(args []string) (string, error) {
	switch {
	case len(args) == 2 && args[0] == "log":
		return checkLog(args[1])
	case len(args) == 3 && args[0] == "same":
		return "", sameProof(args[1], args[2])
	case len(args) == 4 && args[0] == "inclusion":
		return "", checkInclusion(args[1], args[2], args[3])
	case len(args) == 4 && args[0] == "consistency":
		return "", checkConsistency(args[1], args[2], args[3])
	}
	fmt.Fprintln(os.Stderr, "bad command", args)
	os.Exit(2)
	return "", nil
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		text, err := run(strings.Split(in.Text(), "\t"))
		if err != nil {
			fmt.Printf("no: %q\n", err.Error())
		} else {
			fmt.Printf("yes %s\n", text)
		}
	}
}
