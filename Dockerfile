# The server alone: `docker build -t keyrow .`, then `docker run -p 5678:5678 -e DATABASE_URL=... -e KEYROW_KEY_FILE=... keyrow`.
# Its PostgreSQL is elsewhere, so what only the embedded mode needs is left out.
FROM node:24-slim AS build
WORKDIR /src
COPY . .
RUN npm ci --ignore-scripts
RUN npm pack --pack-destination /tmp
WORKDIR /app
RUN tar xzf /tmp/keyrow-*.tgz --strip-components=1
# The versions that are locked, and nothing that development needs; the lock itself would be taken for a checkout's.
RUN cp /src/package-lock.json . && npm ci --ignore-scripts --omit=dev --omit=optional && rm package-lock.json
# Two thirds of it: source maps, and what GraphiQL, which is packed as one, was built of.
RUN find node_modules -name '*.map' -delete && rm -r node_modules/monaco-editor node_modules/react-aria node_modules/react-stately

FROM node:24-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=5678
COPY --from=build /app /app
USER node
EXPOSE 5678
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/dist/src/cli.js"]
CMD ["serve"]
