"use strict";

// The session travels in cookies, which the browser sends by itself: log in with "Try it out" on
// POST /login, then every other operation works.
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  validatorUrl: null,
  persistAuthorization: false,
  tryItOutEnabled: true,
  deepLinking: true,
  displayRequestDuration: true,
  syntaxHighlight: { activated: true },
});
