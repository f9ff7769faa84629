// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

// One 64-bit number, 2^32 hi + lo: the functions below work on it in place
let hi = 0, lo = 0;

// The two halves of a BigInt
const halves = x => [Number(x >> 32n) | 0, Number(x & 0xffffffffn) | 0];

// Constants of SplitMix64: its two multipliers, and n times its increment
const MIX = [0xBF58476D1CE4E5B9n, 0x94D049BB133111EBn].map(halves);
const salt = n => halves(BigInt(n)*0x9E3779B97F4A7C15n & 0xffffffffffffffffn);

// x ^= x >> n, for 0 < n < 32
function fold(n) {
  lo ^= lo >>> n | hi << 32 - n;
  hi ^= hi >>> n;
}

// x *= y, modulo 2^64, for the halves H and L of y
function times([H, L]) {
  const a = lo & 65535, b = lo >>> 16, c = L & 65535, d = L >>> 16;  // quarters of the lower halves
  const first = b*c + (a*c >>> 16), second = a*d + (first & 65535);
  const carry = b*d + (first >>> 16) + (second >>> 16);
  hi = Math.imul(hi, L) + Math.imul(lo, H) + carry | 0;
  lo = Math.imul(lo, L);
}

// Hash the number 2^32 high + low with the halves of a salt; the result stands in hi and lo
function scramble(high, low, [H, L]) {
  const sum = (low >>> 0) + (L >>> 0);
  hi = high + H + (sum > 0xffffffff ? 1 : 0) | 0;
  lo = sum | 0;
  fold(30);
  times(MIX[0]);
  fold(27);
  times(MIX[1]);
  fold(31);
}

// The row that the hash chooses among `rows`: (x >> 1) mod rows
const place = rows => ((hi >>> 1)%rows*(2**32%rows) + ((hi << 31 | lo >>> 1) >>> 0))%rows;
