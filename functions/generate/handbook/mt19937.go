package handbook

// The generator MT19937 of Matsumoto and Nishimura (1998).
const (
	mtSize  = 624
	mtShift = 397
)

// mt19937 is a Mersenne twister. It has to be seeded.
type mt19937 struct {
	key [mtSize]uint32
	pos int
}

// seed sets the state from one number: init_genrand of the reference.
func (m *mt19937) seed(s uint32) {
	for i := range m.key {
		m.key[i] = s
		s = 1812433253*(s^s>>30) + uint32(i) + 1
	}
	m.pos = mtSize
}

// seedArray sets the state from an array of one number: init_by_array of the
// reference for the key [s].
func (m *mt19937) seedArray(s uint32) {
	m.seed(19650218)
	i := 1
	for range mtSize {
		previous := m.key[i-1]
		m.key[i] = (m.key[i] ^ (previous^previous>>30)*1664525) + s
		i = m.next(i)
	}
	for range mtSize - 1 {
		previous := m.key[i-1]
		m.key[i] = (m.key[i] ^ (previous^previous>>30)*1566083941) - uint32(i)
		i = m.next(i)
	}
	m.key[0] = 1 << 31
	m.pos = mtSize
}

// next is the place after i while an array is mixed in; the last one is carried
// over to the front.
func (m *mt19937) next(i int) int {
	if i++; i < mtSize {
		return i
	}
	m.key[0] = m.key[mtSize-1]
	return 1
}

// uint32 draws 32 bits.
func (m *mt19937) uint32() uint32 {
	if m.pos == mtSize {
		m.twist()
	}
	y := m.key[m.pos]
	m.pos++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (m *mt19937) twist() {
	mix := func(i, next, far int) {
		y := m.key[i]&(1<<31) | m.key[next]&(1<<31-1)
		m.key[i] = m.key[far] ^ y>>1 ^ -(y&1)&0x9908b0df
	}
	for i := range mtSize - mtShift {
		mix(i, i+1, i+mtShift)
	}
	for i := mtSize - mtShift; i < mtSize-1; i++ {
		mix(i, i+1, i+mtShift-mtSize)
	}
	mix(mtSize-1, 0, mtShift-1)
	m.pos = 0
}

// double draws a number in [0, 1) with 53 bits.
func (m *mt19937) double() float64 {
	a, b := m.uint32()>>5, m.uint32()>>6
	return float64(uint64(a)<<26|uint64(b)) / (1 << 53)
}
