// The package `proxy` twice: open to all, and for one user with a password.
import http from 'node:http';
import { createProxy } from 'proxy';
import { listen, secret, serve, specials } from './serve.mjs';

const user = `m2m proxy/user`;
const password = secret(specials);
const seen = { connected: [], refused: 0, other: 0 };
const watched = (authenticate) => {
  const server = http.createServer();
  server.on('request', () => { seen.other += 1; });
  return Object.assign(createProxy(server), {
    authenticate(request) {
      const allowed = authenticate(request.headers['proxy-authorization'] ?? '');
      if (!allowed) seen.refused += 1;
      else if (request.method === 'CONNECT') seen.connected.push(request.url);
      return allowed;
    },
  });
};
const basic = Buffer.from(`${user}:${password}`).toString('base64');
serve({
  open: await listen(watched(() => true)),
  guarded: await listen(watched((shown) => shown.replace(/^basic /i, '') === basic)),
  user,
  password,
}, seen);
