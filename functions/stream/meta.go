package stream

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cespare/xxhash/v2"

	"datasurge/functions/step"
)

// Kinds of changelog keys that belong to the engine.
const (
	kindMeta  byte = 0x00 // position, watermarks, commit number: one record, written by every commit
	kindOwner byte = 0x01 // who took the partition over last
	kindBlock byte = 0x02 // doneOffsets: input number, block number
	kindSeen  byte = 0x03 // ids of events that came without an offset
)

// ErrRefused: stored state cannot be used by this process as it is configured.
// Restarting does not help.
var ErrRefused = errors.New("stored state is refused")

const metaVersion = 1

// meta is the last record of every commit. The checkpoint stands in the same
// transaction as the state that it belongs to.
type meta struct {
	owner    string // address at which the owner takes forwarded events, "" when it takes none
	commit   uint64
	settings uint64 // hash of what gives the state its meaning
	inputs   []metaInput
}

type metaInput struct {
	topic     string
	low       int64
	watermark inputWatermark
}

func (m *meta) append(dst []byte) []byte {
	dst = append(dst, metaVersion)
	dst = appendText(dst, m.owner)
	dst = binary.AppendUvarint(dst, m.commit)
	dst = binary.LittleEndian.AppendUint64(dst, m.settings)
	dst = binary.AppendUvarint(dst, uint64(len(m.inputs)))
	for i := range m.inputs {
		in := &m.inputs[i]
		dst = appendText(dst, in.topic)
		dst = binary.AppendVarint(dst, in.low)
		dst = in.watermark.append(dst)
	}
	return dst
}

func parseMeta(data []byte) (*meta, error) {
	r := newReader(data)
	r.version("meta record", metaVersion)
	m := &meta{owner: r.Text(), commit: r.Uvarint(), settings: r.Uint64()}
	for range r.Items() {
		in := metaInput{topic: r.Text(), low: r.Varint()}
		in.watermark.parse(&r)
		m.inputs = append(m.inputs, in)
	}
	return m, r.problem()
}

// settingsHash condenses everything that gives stored state its meaning: the
// function's own settings and the partition counts that decided which task has
// which key.
func settingsHash(def *step.Definition, partitions map[string]int, tasks int) uint64 {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\ntasks %d\n", def.Name, def.Settings, tasks)
	for _, in := range def.Inputs {
		fmt.Fprintf(&b, "%s %d\n", in.Topic, partitions[in.Topic])
	}
	return xxhash.Sum64String(b.String())
}

// appendTime and readTime carry a time in ms, of which MinWatermark would take
// ten bytes as a varint.
func appendTime(dst []byte, ms int64) []byte {
	if ms == step.MinWatermark {
		return append(dst, 0)
	}
	return binary.AppendVarint(append(dst, 1), ms)
}

func readTime(r *reader) int64 {
	if !r.bool() {
		return step.MinWatermark
	}
	return r.Varint()
}

func appendBlockKey(dst []byte, input int, number int64) []byte {
	dst = append(dst, kindBlock, byte(input))
	return step.AppendTime(dst, number)
}

func appendSeenKey(dst []byte, source, id string) []byte {
	dst = append(dst, kindSeen)
	dst = append(dst, source...)
	dst = append(dst, 0)
	return append(dst, id...)
}
