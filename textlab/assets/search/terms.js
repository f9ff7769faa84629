// Made from nbs/36_lm.page.ipynb; edit that page, not this file.

'use strict';

// A run of letters or digits, of any script
const TERM = /[\p{L}\p{N}]+/gu;

// The terms of a text: words and numbers in lower case, in order
const terms = text => text.normalize('NFKC').toLowerCase().match(TERM) || [];
