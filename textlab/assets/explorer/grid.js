// Made from nbs/54_maps.explorer.ipynb; edit that page, not this file.

// Points sorted into square cells: `nearest(x, y, r)` is the row of the nearest one within r, or -1
function makeGrid(X, Y) {
  const n = X.length, low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (let i = 0; i < n; i++) [X[i], Y[i]].forEach((v, d) => {
    low[d] = Math.min(low[d], v);
    high[d] = Math.max(high[d], v);
  });
  const [wide, tall] = low.map((v, d) => Math.max(high[d] - v, 1e-9));
  const size = Math.max(wide, tall)/Math.max(1, Math.ceil(Math.sqrt(n/2)));
  const across = Math.ceil(wide/size) + 1, up = Math.ceil(tall/size) + 1;
  const column = x => Math.floor((x - low[0])/size), line = y => Math.floor((y - low[1])/size);

  // Rows in the order of their cells; where each cell begins
  const begins = new Uint32Array(across*up + 1), rows = new Uint32Array(n);
  const cells = Uint32Array.from(X, (x, i) => line(Y[i])*across + column(x));
  for (const c of cells) begins[c + 1]++;
  for (let c = 0; c < across*up; c++) begins[c + 1] += begins[c];
  const next = begins.slice();
  cells.forEach((c, i) => { rows[next[c]++] = i; });

  function nearest(x, y, r) {
    let best = -1, least = r*r;
    const clip = (v, most) => Math.min(Math.max(v, 0), most);
    const [a, b] = [x - r, x + r].map(v => clip(column(v), across - 1));
    const [c, d] = [y - r, y + r].map(v => clip(line(v), up - 1));
    for (let l = c; l <= d; l++) for (let k = begins[l*across + a]; k < begins[l*across + b + 1]; k++) {
      const i = rows[k], far = (X[i] - x)**2 + (Y[i] - y)**2;
      if (far <= least) [best, least] = [i, far];
    }
    return best;
  }
  return {nearest, low, high};
}
