// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

// Numbers from base64, the lowest byte first
const unpack = (text, Kind) => new Kind(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer);

// A vector scaled to length one; zeros stay zeros
function unit(x) {
  const length = Math.sqrt(x.reduce((sum, v) => sum + v*v, 0));
  return length > 1e-12 ? x.map(v => v/length) : x;
}

// Term u takes row at[j*U + u] of the stacked tables with sign[j*U + u] in block j; a code is two numbers, low and high
function hashRows(codes, blocks, rows) {
  const U = codes.length/2, at = new Int32Array(blocks*U), sign = new Int8Array(blocks*U);
  for (let j = 0; j < blocks; j++) {
    const key = salt(j + 1);
    for (let u = 0; u < U; u++) {
      scramble(codes[2*u + 1], codes[2*u], key);
      at[j*U + u] = place(rows) + j*rows;
      sign[j*U + u] = 2*(lo & 1) - 1;
    }
  }
  return {at, sign};
}

// The trained table: all of its rows are in the file
const shippedTable = (table, scales) => ({
  values: unpack(table, Int8Array),
  scales: unpack(scales, Float32Array),
  need() {},
});

// The random table: a row is made when it is first needed, and a row that is not made has the scale 0
function hashedTable(rows, width) {
  const values = new Int8Array(rows*width), scales = new Float32Array(rows), key = salt(99);
  function need(row) {
    if (scales[row]) return;
    scales[row] = 1;
    for (let i = row*width; i < (row + 1)*width; i++) {
      scramble(0, i, key);
      values[i] = 2*(lo & 1) - 1;
    }
  }
  return {values, scales, need};
}

// A function from a bag of terms, [[term, count], …], to its vector
function layer(codes, k1, {weights, dim, blocks, rows, table, scales: shipped}) {
  const U = codes.length/2, width = dim/blocks, weight = unpack(weights, Float32Array);
  const {at, sign} = hashRows(codes, blocks, rows);
  const {values, scales, need} = table ? shippedTable(table, shipped) : hashedTable(blocks*rows, width);
  return bag => {
    const x = new Float64Array(dim);
    for (const [u, c] of bag) {
      for (let j = 0; j < blocks; j++) {
        const row = at[j*U + u];
        need(row);
        const factor = weight[u]*(k1 + 1)*c/(k1 + c)*sign[j*U + u]*scales[row];
        for (let i = 0, to = j*width, from = row*width; i < width; i++) x[to + i] += factor*values[from + i];
      }
    }
    return unit(x);
  };
}
