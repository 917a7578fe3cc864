// Shows the invite in this page's own address. It is after the #, which browsers send to no server, and it stays here:
// this page loads nothing but itself, and sends nothing.
'use strict';

// An app's scheme, if it is not the first of the server's, and the invite.
const INVITE = /^#(?:([A-Za-z][A-Za-z0-9+.-]{0,63}):)?([A-Za-z0-9_-]{40,4096})$/;

function show() {
  const [, named, invite] = INVITE.exec(location.hash) ?? [];
  // Anybody can make an address of this page. It opens what the server's operator has listed, and nothing else.
  const schemes = document.documentElement.dataset.schemes.split(' ');
  const scheme = named === undefined ? schemes[0] : named.toLowerCase();
  const listed = schemes.includes(scheme);
  const element = (id) => document.getElementById(id);
  element('broken').hidden = Boolean(invite);
  element('unlisted').hidden = !invite || listed;
  element('invite').hidden = !invite || !listed;
  element('open').removeAttribute('href');
  if (!invite || !listed) return;
  const link = `${scheme}://join#${invite}`;
  element('open').href = link;
  element('text').value = link;
  draw(element('picture'), modules(link));
  element('copy').hidden = !navigator.clipboard;
  element('copy').onclick = async () => {
    await navigator.clipboard.writeText(link);
    element('copy').textContent = 'Copied';
  };
}

function draw(svg, dark) {
  svg.toggleAttribute('hidden', !dark);
  if (!dark) return;
  const quiet = 4, side = dark.length + 2 * quiet;
  svg.setAttribute('viewBox', `0 0 ${side} ${side}`);
  svg.querySelector('rect').setAttribute('width', side);
  svg.querySelector('rect').setAttribute('height', side);
  let path = '';
  dark.forEach((row, y) => row.forEach((isDark, x) => {
    if (isDark) path += `M${x + quiet} ${y + quiet}h1v1h-1z`;
  }));
  svg.querySelector('path').setAttribute('d', path);
}

// A QR code (ISO/IEC 18004) in byte mode with the lowest error correction, which a screen needs no more of. Of each
// version, 1 to 25: correction bytes a block, and blocks.
const CORRECTION = [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28, 30, 30, 26];
const BLOCKS = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9, 9, 10, 12];

// The rows of modules that say this ASCII text, true for dark; null if it is too long.
function modules(text) {
  for (let version = 1; version <= CORRECTION.length; version++) {
    const bytes = Math.floor(room(version) / 8);
    const data = packed(text, version, bytes - CORRECTION[version - 1] * BLOCKS[version - 1]);
    if (data) return placed(version, corrected(data, CORRECTION[version - 1], BLOCKS[version - 1], bytes));
  }
  return null;
}

// Modules of a version that are no pattern: what is left for bits.
function room(version) {
  let bits = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const marks = Math.floor(version / 7) + 2;
    bits -= (25 * marks - 10) * marks - 55;
    if (version >= 7) bits -= 36;
  }
  return bits;
}

// Mode, length, text, and padding up to that many bytes; null if it doesn't fit.
function packed(text, version, len) {
  const bits = [];
  const push = (value, count) => { for (let i = count - 1; i >= 0; i--) bits.push(value >> i & 1); };
  push(4, 4);
  push(text.length, version < 10 ? 8 : 16);
  for (const char of text) push(char.charCodeAt(0), 8);
  if (bits.length > 8 * len) return null;
  push(0, Math.min(4, 8 * len - bits.length));
  push(0, (8 - bits.length % 8) % 8);
  for (let pad = 0xEC; bits.length < 8 * len; pad ^= 0xEC ^ 0x11) push(pad, 8);
  return Array.from({ length: len }, (_, i) => bits.slice(8 * i, 8 * i + 8).reduce((byte, bit) => byte << 1 | bit, 0));
}

// A product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1.
function times(a, b) {
  let product = 0;
  for (let i = 7; i >= 0; i--) product = product << 1 ^ (product >> 7) * 0x11D ^ (b >> i & 1) * a;
  return product;
}

// The Reed-Solomon remainder of a block.
function remainder(block, degree) {
  let divisor = [1], root = 1;
  for (let i = 0; i < degree; i++, root = times(root, 2)) {
    const next = [...divisor, 0];
    divisor.forEach((factor, j) => { next[j + 1] ^= times(factor, root); });
    divisor = next;
  }
  const rest = new Array(degree).fill(0);
  for (const byte of block) {
    const factor = byte ^ rest.shift();
    rest.push(0);
    for (let j = 0; j < degree; j++) rest[j] ^= times(divisor[j + 1], factor);
  }
  return rest;
}

// Cut into blocks, each with its correction, and dealt out byte by byte.
function corrected(data, degree, count, bytes) {
  const short = count - bytes % count, shortLen = Math.floor(bytes / count) - degree;
  const blocks = [];
  for (let i = 0, at = 0; i < count; i++) {
    const len = shortLen + (i < short ? 0 : 1);
    blocks.push(data.slice(at, at + len));
    at += len;
  }
  const rests = blocks.map((block) => remainder(block, degree));
  const dealt = (lists, len) => Array.from({ length: len }, (_, i) => lists.map((list) => list[i])).flat();
  return [...dealt(blocks, shortLen + 1).filter((byte) => byte !== undefined), ...dealt(rests, degree)];
}

// The patterns, then the bytes on their way up and down, under the mask (x + y) mod 2.
function placed(version, bytes) {
  const side = 4 * version + 17;
  const rows = Array.from({ length: side }, () => new Array(side).fill(null));
  const set = (x, y, dark) => { if (y in rows && x in rows[y]) rows[y][x] = Boolean(dark); };

  for (let i = 0; i < side; i++) { set(6, i, i % 2 === 0); set(i, 6, i % 2 === 0); }
  for (const [cx, cy] of [[3, 3], [side - 4, 3], [3, side - 4]]) {
    for (let dy = -4; dy <= 4; dy++) for (let dx = -4; dx <= 4; dx++) {
      const ring = Math.max(Math.abs(dx), Math.abs(dy));
      set(cx + dx, cy + dy, ring !== 2 && ring !== 4);
    }
  }
  const marks = centres(version, side), last = marks.length - 1;
  marks.forEach((cx, i) => marks.forEach((cy, j) => {
    if (i === 0 && j === 0 || i === 0 && j === last || i === last && j === 0) return;
    for (let dy = -2; dy <= 2; dy++) for (let dx = -2; dx <= 2; dx++) {
      set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
    }
  }));

  // Correction L is 01, the mask 000.
  const format = (1 << 13 | checked(1 << 3, 10, 0x537)) ^ 0x5412;
  for (let i = 0; i < 15; i++) {
    const dark = format >> i & 1;
    if (i < 6) set(8, i, dark);
    else if (i < 8) set(8, i + 1, dark);
    else if (i === 8) set(7, 8, dark);
    else set(14 - i, 8, dark);
    if (i < 8) set(side - 1 - i, 8, dark);
    else set(8, side - 15 + i, dark);
  }
  set(8, side - 8, true);
  if (version >= 7) {
    const bits = version << 12 | checked(version, 12, 0x1F25);
    for (let i = 0; i < 18; i++) {
      const a = side - 11 + i % 3, b = Math.floor(i / 3);
      set(a, b, bits >> i & 1);
      set(b, a, bits >> i & 1);
    }
  }

  let bit = 0;
  for (let right = side - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    const up = (right + 1 & 2) === 0;
    for (let step = 0; step < side; step++) for (const x of [right, right - 1]) {
      const y = up ? side - 1 - step : step;
      if (rows[y][x] !== null) continue;
      const dark = bit < 8 * bytes.length ? bytes[bit >> 3] >> 7 - (bit & 7) & 1 : 0;
      rows[y][x] = (dark ^ (x + y + 1) % 2) === 1;
      bit++;
    }
  }
  return rows;
}

// Where the alignment patterns stand.
function centres(version, side) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const step = Math.floor((version * 8 + count * 3 + 5) / (count * 4 - 4)) * 2;
  const rest = Array.from({ length: count - 1 }, (_, i) => side - 7 - i * step);
  return [6, ...rest.reverse()];
}

// The check bits of a BCH code.
function checked(value, count, polynomial) {
  let rest = value;
  for (let i = 0; i < count; i++) rest = rest << 1 ^ (rest >> count - 1) * polynomial;
  return rest;
}

addEventListener('hashchange', show);
show();
