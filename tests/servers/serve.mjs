// What the servers share: secrets made at start, and the two pipes by which the test that started one talks to it.
import crypto from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

// oidc-provider tells there what to change for production, and would tell it where the answers go.
console.info = console.warn = () => {};

/** Printable ASCII that encoders get wrong, and what looks like an escape. Neither server takes more than ASCII. */
export const specials = ` !"#$%&'()*+,-./:;<=>?@[\\]^_\`{|}~%41+`;

export const secret = (more = '') => `canary-secret-${crypto.randomBytes(9).toString('hex')}${more}-end`;

/** Listens on a free port of this machine. */
export async function listen(server, scheme = 'http', host = '127.0.0.1') {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `${scheme}://${host}:${server.address().port}`;
}

/** Prints what a client must know, then `seen` for every line that comes in. Ends with its standard input. */
export function serve(known, seen) {
  const print = (value) => console.log(JSON.stringify(value));
  createInterface({ input: process.stdin }).on('line', () => print(seen)).on('close', () => process.exit());
  print(known);
}
