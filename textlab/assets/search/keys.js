// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

// Compute all vectors, a few at a time, and say in the foot how far it is
function compute(E, foot, ready) {
  const began = performance.now();

  function progress() { return `Computing vectors: ${Math.floor(100*E.done()/E.N)}%`; }

  function summary() {
    const seconds = ((performance.now() - began)/1000).toFixed(1);
    return `${shown(E.N)} passages, ${shown(E.terms)} terms; vectors of ${shown(E.dim)} numbers, ` +
      `computed here in ${seconds} s. Nothing is sent anywhere.`;
  }

  function some() {
    const end = performance.now() + 12;
    let more = true;
    while (more && performance.now() < end) more = E.step();
    foot.textContent = more ? progress() : summary();
    if (more) setTimeout(some);
    else ready();
  }
  some();
}

// What a key does
const keys = (input, list, show) => event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const names = [...list.querySelectorAll('button')], at = names.indexOf(document.activeElement);
  const typing = document.activeElement === input;
  if (event.key === '/' && !typing) {
    input.focus();
    input.select();
  } else if (event.key === 'Escape') {
    if (typing) {
      input.value = '';
      show();
    }
    input.focus();
  } else if (['ArrowDown', 'ArrowUp'].includes(event.key) && (typing || at >= 0) && names.length) {
    const to = at + (event.key === 'ArrowDown' ? 1 : -1);
    (to < 0 ? input : names[Math.min(to, names.length - 1)]).focus();
  } else return;
  event.preventDefault();
};

if (globalThis.document) setTimeout(box);
