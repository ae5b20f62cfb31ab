// oidc-provider over http and three TLS listeners, with the certificates in the folder CERTIFICATES.
//   POST /token, POST /token/introspection    its own; JWTs are not introspected
//   GET /api                                  lets in whoever has a JWT of this server, and tells its claims
import { listen, secret, serve, specials } from './serve.mjs'; // before what is to be quiet
import fs from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';

const life = 600;
const shortLife = 200; // less than what the clients of the test want
const scope = 'api:read api:write';
const resources = {
  'https://api.example/opaque': { scope, accessTokenFormat: 'opaque' },
  'https://api.example/jwt': { scope, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } },
};
const clients = {
  plain: { id: 'm2m-plain' },
  special: { id: `m2m${specials}`, secret: secret(specials) },
  special_secret: { id: 'm2m-special-secret', secret: secret(specials) },
  short: { id: 'm2m-short' },
  reader: { id: 'm2m-reader', scope: 'api:read' },
  expired: { id: 'm2m-expired', client_secret_expires_at: 1 },
  without_grant: { id: 'm2m-without-grant', grant_types: [] },
};
for (const client of Object.values(clients)) client.secret ??= secret();

const { privateKey } = await generateKeyPair('ES256', { extractable: true });
const key = { ...await exportJWK(privateKey), alg: 'ES256', use: 'sig', kid: 'server' };

const seen = { token_requests: 0 };
let handle;
const count = (request, response) => {
  if (request.url === '/token') seen.token_requests += 1;
  handle(request, response);
};
const file = (name) => fs.readFileSync(`${process.env.CERTIFICATES}/${name}`);
const tls = (name, more) => https.createServer({ cert: file(`${name}.pem`), key: file(`${name}.key`), ...more }, count);
const urls = {
  http: await listen(http.createServer(count)),
  https: await listen(tls('localhost'), 'https', 'localhost'),
  elsewhere: await listen(tls('elsewhere'), 'https', 'localhost'),
  strict: await listen(tls('localhost', { ca: file('ca.pem'), requestCert: true }), 'https', 'localhost'),
};

const provider = new Provider(urls.https, {
  clients: Object.values(clients).map(({ id, secret: client_secret, ...own }) => ({
    client_id: id, client_secret, ...own,
  })),
  clientDefaults: {
    scope,
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    id_token_signed_response_alg: 'ES256',
  },
  jwks: { keys: [key] },
  scopes: scope.split(' '),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo(_, resource) {
        if (!resources[resource]) throw new errors.InvalidTarget('no such resource');
        return resources[resource];
      },
    },
  },
  ttl: { ClientCredentials: (_, token, client) => (client.clientId === clients.short.id ? shortLife : life) },
});
const { d, ...publicKey } = key;
const keys = createLocalJWKSet({ keys: [publicKey] });
provider.use(async (ctx, next) => {
  if (ctx.path !== '/api') return next();
  try {
    const token = ctx.get('authorization').replace(/^Bearer /, '');
    ctx.body = (await jwtVerify(token, keys, { issuer: urls.https, typ: 'at+jwt' })).payload;
  } catch (error) {
    ctx.status = 401;
    ctx.body = { error: error.code };
  }
});
handle = provider.callback();
serve({ urls, clients, life, short_life: shortLife }, seen);
