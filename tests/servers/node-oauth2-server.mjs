// @node-oauth/oauth2-server behind Node's own http server: POST /token, and GET /resource for whoever has a live token.
import crypto from 'node:crypto';
import http from 'node:http';
import OAuth2Server from '@node-oauth/oauth2-server';
import { listen, secret, serve, specials } from './serve.mjs';

const life = 600;
const grants = ['client_credentials'];
const clients = {
  plain: { id: 'm2m-plain', secret: secret(), grants },
  // Basic ends the id at the first colon, and this server decodes nothing.
  special: { id: `m2m${specials.replaceAll(':', '')}`, secret: secret(specials), grants },
  without_grant: { id: 'm2m-without-grant', secret: secret(), grants: ['authorization_code'] },
  faulty: { id: 'm2m-faulty', secret: secret(), grants },
};
const tokens = new Map();
const oauth = new OAuth2Server({
  accessTokenLifetime: life,
  model: {
    async getClient(id, given) {
      if (id === clients.faulty.id) throw new Error('the database is down');
      return Object.values(clients).find((client) => client.id === id && client.secret === given);
    },
    getUserFromClient: async (client) => ({ id: client.id }),
    generateAccessToken: async () => `canary-token-${crypto.randomBytes(32).toString('hex')}`,
    validateScope: async (_, __, asked = ['read']) => asked.every((one) => ['read', 'write'].includes(one)) && asked,
    saveToken: async (token, client, user) => {
      tokens.set(token.accessToken, { ...token, client, user });
      return tokens.get(token.accessToken);
    },
    getAccessToken: async (token) => tokens.get(token),
  },
});

const seen = { token_requests: 0 };
async function answer({ method, url, headers }, body, response) {
  if (url === '/token') {
    seen.token_requests += 1;
    await oauth.token(new OAuth2Server.Request({ method, headers, query: {}, body }), response);
    return response.body;
  }
  const token = await oauth.authenticate(new OAuth2Server.Request({ method, headers, query: {}, body }), response);
  return { client_id: token.client.id, scope: token.scope.join(' ') };
}
const server = http.createServer(async (request, reply) => {
  let text = '';
  for await (const part of request.setEncoding('utf8')) text += part;
  const response = new OAuth2Server.Response();
  const said = await answer(request, Object.fromEntries(new URLSearchParams(text)), response).catch((error) => {
    response.status = error.code ?? 500;
    return { error: error.name, error_description: error.message };
  });
  const json = JSON.stringify(said);
  reply.writeHead(response.status, { ...response.headers, 'content-type': 'application/json' });
  reply.write(json.slice(0, 10)); // without a length, so in chunks
  reply.end(json.slice(10));
});
serve({ url: await listen(server), clients, life }, seen);
