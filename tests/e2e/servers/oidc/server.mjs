// An OAuth server: oidc-provider with four kinds of clients, on loopback. The port is its first line; what it is told
// comes as JSON over /control, which no client of OAuth knows.
//
//   machine   client_credentials, client_secret_basic
//   robot     client_credentials with private_key_jwt, and JWT bearer grants (RFC 7523), which oidc-provider lacks
//   clerk     client_credentials with client_secret_jwt: an HMAC by a shared key
//   app       refresh tokens that rotate; one that is used twice ends everything that came of it

import { createServer } from "node:http";
import { createRequire } from "node:module";

const from = createRequire(`${process.env.MODULES}/`);
const { default: Provider } = await import(from.resolve("oidc-provider"));
const { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify } = await import(from.resolve("jose"));

const GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const settings = JSON.parse(process.env.SETTINGS);
const life = { seconds: 600 };
const requests = [];

const keys = {};
for (const [algorithm, pem] of Object.entries(settings.keys)) {
  const { importSPKI } = await import(from.resolve("jose"));
  keys[algorithm] = { ...(await exportJWK(await importSPKI(pem, algorithm))), alg: algorithm, use: "sig", kid: algorithm };
}
const jwks = { keys: Object.values(keys) };
const own = await generateKeyPair("RS256", { extractable: true });

const http = createServer();
await new Promise((done) => http.listen(0, "127.0.0.1", done));
const issuer = `http://127.0.0.1:${http.address().port}`;

const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "machine",
      client_secret: settings.secret,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
    ...["RS256", "ES256"].map((algorithm) => ({
      client_id: `robot-${algorithm}`,
      grant_types: ["client_credentials", GRANT],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: "private_key_jwt",
      token_endpoint_auth_signing_alg: algorithm,
      jwks,
    })),
    {
      client_id: "clerk",
      client_secret: settings.secret,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: "client_secret_jwt",
      token_endpoint_auth_signing_alg: "HS256",
    },
    {
      client_id: "assertions",
      grant_types: [GRANT],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: "none",
    },
    {
      client_id: "app",
      client_secret: settings.secret,
      grant_types: ["authorization_code", "refresh_token"],
      redirect_uris: ["https://app.example/callback"],
      token_endpoint_auth_method: "client_secret_post",
    },
  ],
  cookies: { keys: ["of-the-tests"] },
  jwks: { keys: [{ ...(await exportJWK(own.privateKey)), use: "sig", alg: "RS256" }] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    introspection: { enabled: false },
  },
  scopes: ["openid", "offline_access", "crm"],
  enabledJWA: {
    clientAuthSigningAlgValues: ["RS256", "ES256", "HS256"],
  },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  rotateRefreshToken: true,
  ttl: {
    AccessToken: () => life.seconds,
    ClientCredentials: () => life.seconds,
    RefreshToken: 86400,
    Grant: 86400,
    IdToken: 600,
  },
});

provider.registerGrantType(
  GRANT,
  async (context, next) => {
    const { client, params } = context.oidc;
    try {
      const { payload } = await jwtVerify(params.assertion, createLocalJWKSet(jwks), {
        audience: `${issuer}/token`,
        issuer: "robot@example.com",
        requiredClaims: ["exp", "iat", "jti", "sub"],
      });
      const token = new provider.AccessToken({
        accountId: payload.sub,
        client,
        grantId: "of-an-assertion",
        gty: "jwt_bearer",
        scope: params.scope,
      });
      context.body = { access_token: await token.save(), token_type: "Bearer", expires_in: token.expiration };
    } catch (error) {
      context.status = 400;
      context.body = { error: "invalid_grant", error_description: error.message };
    }
    await next();
  },
  ["assertion", "scope"],
);

const told = {
  // A login, as a browser would have made one.
  async login() {
    const client = await provider.Client.find("app");
    const grant = new provider.Grant({ accountId: "ann", clientId: "app" });
    grant.addOIDCScope("openid offline_access crm");
    const token = new provider.RefreshToken({
      accountId: "ann",
      client,
      grantId: await grant.save(),
      gty: "authorization_code",
      scope: "openid offline_access crm",
    });
    return { refresh_token: await token.save() };
  },
  async life({ seconds }) {
    life.seconds = seconds;
    return {};
  },
  async valid({ token }) {
    const found = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
    return { valid: Boolean(found?.isValid) };
  },
  async revoke({ token }) {
    const found = (await provider.AccessToken.find(token)) ?? (await provider.ClientCredentials.find(token));
    await found?.destroy();
    return {};
  },
  async requests() {
    return { requests };
  },
};

const callback = provider.callback();
http.on("request", async (request, response) => {
  if (!request.url.startsWith("/control/")) {
    if (request.url === "/token") {
      response.on("finish", () => requests.push(response.statusCode));
    }
    callback(request, response);
    return;
  }
  let text = "";
  for await (const piece of request) text += piece;
  const answer = await told[request.url.slice("/control/".length)](JSON.parse(text || "{}"));
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify(answer));
});
console.log(issuer);
