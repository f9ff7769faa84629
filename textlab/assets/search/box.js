// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

const shown = number => number.toLocaleString('en');

// What the line below the box says
function message({query, found, ms, waiting, passages, examples}) {
  const end = examples ? ', for example:' : '.';
  if (!query) return `${passages} passages. Ask a question or give a few words${end}`;
  if (!found.known && waiting) return 'No passage holds these words; the vectors are still being computed.';
  if (!found.known) return `None of these words is known here. Try others${end}`;
  const best = `Best ${found.hits.length} of ${passages} passages in ${ms.toFixed(1)} ms`;
  return waiting ? `${best}, by words alone until the vectors are computed` : best;
}

function box() {
  const [data, form, input, state, list, examples, foot] =
    ['data', 'form', 'q', 'state', 'hits', 'examples', 'foot'].map(id => document.getElementById(id));
  const {questions, ...corpus} = JSON.parse(data.textContent), E = engine(corpus);
  const linked = /^(file|https?):$/.test(location.protocol);

  function show() {
    const query = input.value.trim(), mode = form.elements.mode.value;
    const began = performance.now(), found = E.search(query, mode), ms = performance.now() - began;
    if (linked) history.replaceState(null, '', '#' + (query ? new URLSearchParams({q: query, mode}) : ''));
    examples.hidden = found.known;
    list.replaceChildren(...found.hits.map(one => hit(E, one, query, found.mode)));
    const waiting = found.mode !== mode;
    state.textContent = message({query, found, ms, waiting, passages: shown(E.N), examples: questions.length});
  }

  // Take question and mode from the address
  function read() {
    const address = new URLSearchParams(location.hash.slice(1)), mode = address.get('mode');
    input.value = address.get('q') || '';
    form.elements.mode.value = ['words', 'vectors'].includes(mode) ? mode : 'both';
    show();
  }

  function example(question) {
    const ask = () => {
      input.value = question;
      show();
      input.focus();
    };
    return make('button', {type: 'button', onclick: ask}, question);
  }

  let timer = 0;
  input.oninput = () => {
    clearTimeout(timer);
    timer = setTimeout(show, 80);
  };
  for (const radio of form.elements.mode) radio.onchange = show;
  form.onsubmit = event => {
    event.preventDefault();
    show();
    list.querySelector('button')?.focus();
  };
  window.onhashchange = read;
  window.onkeydown = keys(input, list, show);
  examples.append(...questions.map(example));
  read();
  const reading = () => list.querySelector(':focus, [aria-expanded=true]');
  compute(E, foot, () => { if (!reading()) show(); });
}
