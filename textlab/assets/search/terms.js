// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

'use strict';

// What is not seen; scripts without blanks between words; accents and vowel points: for classes of characters
const IGNORED = String.raw`\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c-\u200f\u202a-\u202e` +
  String.raw`\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\u{1bca0}-\u{1bca3}` +
  String.raw`\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}`;
const UNSPACED = String.raw`\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u2e80-\u2fdf` +
  String.raw`\u3005-\u3007\u3021-\u3029\u3038-\u303b\u3040-\u3098\u309b-\u309f\u3400-\u4dbf` +
  String.raw`\u4e00-\u9fff\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff\u{20000}-\u{3ffff}`;
const ACCENTS = String.raw`\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7` +
  String.raw`\u0610-\u061a\u064b-\u0652\u0656-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8` +
  String.raw`\u06ea-\u06ed\u0730-\u074a\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f`;
const UNSEEN = new RegExp(`[${IGNORED}]`, 'gu'), ACCENT = new RegExp(`[${ACCENTS}]`, 'gu');

// One Unicode form and one case
function normalize(text) {
  const lower = text.normalize('NFKD').replace(UNSEEN, '').toLowerCase();
  return lower.replaceAll('ß', 'ss').replaceAll('ς', 'σ').replaceAll('և', 'եւ').replaceAll('i\u0307', 'i')
    .replaceAll('\u0345', 'ι').normalize('NFKC');
}

// Without accents and points, but for letters of their own; `engine` switches it off where the corpus asks for that
let folding = true;
const OWN = 'йўїѓќ';
const ALIKE = {ı: 'i', ł: 'l', ø: 'o', đ: 'd', ð: 'd', ħ: 'h', ŧ: 't', æ: 'ae', œ: 'oe', þ: 'th',
  '\u0622': '\u0627', '\u0623': '\u0627', '\u0625': '\u0627', '\u0671': '\u0627', '\u0640': ''};
const plain = c => OWN.includes(c) ? c : ALIKE[c] ?? c.normalize('NFD').replace(ACCENT, '').normalize('NFC');
const unaccented = text => text.replace(/[^\x00-\x7f]/gu, plain).normalize('NFC');

// A letter of a script without blanks, with its marks; a run of letters or digits; a name such as c++ or python3.11
const CLUSTER = `(?=[${UNSPACED}])[\\p{L}\\p{N}]\\p{M}*`, SPACED = `(?![${UNSPACED}])[\\p{L}\\p{N}]`;
const CLUSTERS = new RegExp(CLUSTER, 'gu'), RUN = new RegExp(`^(?:${CLUSTER})+$`, 'u');
const TERM = new RegExp(`${SPACED}(?:${SPACED}|\\p{M})*|(?:${CLUSTER})+`, 'gu');
const WORD = String.raw`(?<![\p{L}\p{N}_])\p{L}[\p{L}\p{N}]*`;
const NAME = new RegExp(String.raw`${WORD}(?:\+\+(?![\p{L}+])|[+#](?![\p{L}\p{N}_+#]))` +
  String.raw`|(?<!\.)${WORD}(?:\.\p{Nd}+)+(?![\p{L}\p{N}_])`, 'gu');

// Letters and pairs of neighbours of a run without blanks
function lettersAndPairs(run) {
  const letters = run.match(CLUSTERS);
  return [...letters, ...letters.slice(1).map((letter, i) => letters[i] + letter)];
}

// The terms of a text: words and numbers in one case, in order, and names at the end
function terms(text) {
  const form = folding ? unaccented(normalize(text)) : normalize(text);
  const found = (form.match(TERM) || []).flatMap(run => RUN.test(run) ? lettersAndPairs(run) : [run]);
  return [...found, ...form.match(NAME) || []];
}
