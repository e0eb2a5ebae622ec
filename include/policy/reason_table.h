/*
 * Every way a connection or request can end, one row each; tests/system provokes every row and docs/decision-log.md
 * lists it (a lint compares the three).
 *
 * REASON(symbol, text, outcome, http_status, tls_alert, meaning)
 *   text         what records, metrics and refusals say
 *   outcome      PERMITTED: the policy let it through, action is allow (or audit); REFUSED: action is deny
 *   http_status  answer to an HTTP client when nothing has been answered yet; 0: none, just close
 *   tls_alert    alert to a TLS client when nothing has been answered yet (RFC 8446 6.2); 0: none, just close
 */
REASON(COMPLETED, "completed", PERMITTED, 0, 0, "both sides finished")
REASON(CLIENT_ABORTED, "client-aborted", PERMITTED, 0, 0, "the client reset or dropped an allowed connection")
REASON(UPSTREAM_ABORTED, "upstream-aborted", PERMITTED, 502, 80, "the origin reset or dropped an allowed connection")
REASON(IDLE_TIMEOUT, "idle-timeout", PERMITTED, 504, 80, "no byte in either direction for timeouts.idle")
REASON(POLICY_CHANGED, "policy-changed", PERMITTED, 0, 0, "a reload no longer allows what was allowed; see on_policy_change")
REASON(SHUTDOWN, "shutdown", PERMITTED, 0, 0, "still open when the drain period ended")
REASON(BAD_RESPONSE, "bad-response", PERMITTED, 502, 0, "the origin's HTTP answer is malformed or ambiguous")
REASON(NAME_NOT_FOUND, "name-not-found", PERMITTED, 502, 112, "DNS says that the name, or its addresses, do not exist")
REASON(RESOLVE_FAILED, "resolve-failed", PERMITTED, 502, 80, "no DNS server gave a usable answer")
REASON(RESOLVE_TIMEOUT, "resolve-timeout", PERMITTED, 504, 80, "no DNS answer within timeouts.resolve")
REASON(CONNECT_REFUSED, "connect-refused", PERMITTED, 502, 80, "every address of the origin refused the connection")
REASON(CONNECT_UNREACHABLE, "connect-unreachable", PERMITTED, 502, 80, "no route to any address of the origin")
REASON(CONNECT_TIMEOUT, "connect-timeout", PERMITTED, 504, 80, "no address of the origin answered within timeouts.connect")
REASON(UNKNOWN_SOURCE, "unknown-source", REFUSED, 403, 49, "the client's address is in no cluster")
REASON(NO_RULE, "no-rule", REFUSED, 403, 112, "no rule of the cluster allows this name, protocol and port")
REASON(DENY_RULE, "deny-rule", REFUSED, 403, 49, "a deny rule of the cluster forbids it")
REASON(FORBIDDEN_ADDRESS, "forbidden-address", REFUSED, 403, 49, "every address is loopback, private or otherwise not public, and not under private_destinations")
REASON(PLATFORM_ADDRESS, "platform-address", REFUSED, 403, 49, "168.63.129.16 or 169.254.169.254, which no client may reach through here")
REASON(OWN_ADDRESS, "own-address", REFUSED, 403, 49, "the destination is one of this daemon's own listeners")
REASON(NO_SERVER_NAME, "no-server-name", REFUSED, 0, 112, "a TLS ClientHello without a server name")
REASON(BAD_SERVER_NAME, "bad-server-name", REFUSED, 400, 112, "the SNI, Host or CONNECT target is not a domain name")
REASON(BAD_CLIENT_HELLO, "bad-client-hello", REFUSED, 0, 50, "a TLS ClientHello that breaks RFC 8446 or RFC 6066")
REASON(CLIENT_HELLO_TOO_LARGE, "client-hello-too-large", REFUSED, 0, 50, "a ClientHello over 64 KiB")
REASON(SERVER_NAME_MISMATCH, "server-name-mismatch", REFUSED, 0, 112, "the SNI is not the name in the CONNECT request")
REASON(SERVER_NAME_CHANGED, "server-name-changed", REFUSED, 0, 47, "the second ClientHello, after a HelloRetryRequest, names another server")
REASON(UNKNOWN_PROTOCOL, "unknown-protocol", REFUSED, 0, 0, "the first bytes are neither TLS nor HTTP/1")
REASON(BAD_REQUEST, "bad-request", REFUSED, 400, 0, "an HTTP request head that is malformed or can be read in two ways")
REASON(REQUEST_TOO_LARGE, "request-too-large", REFUSED, 431, 0, "an HTTP request head over 64 KiB")
REASON(NOT_A_PROXY_REQUEST, "not-a-proxy-request", REFUSED, 400, 0, "the proxy listener takes CONNECT and absolute-form requests only")
REASON(INSPECT_TIMEOUT, "inspect-timeout", REFUSED, 408, 80, "the client sent no complete hello or request head within timeouts.inspect")
REASON(CLIENT_GONE, "client-gone", REFUSED, 0, 0, "the client left before it asked for anything that could be decided")
REASON(SNAT_EXHAUSTED, "snat-exhausted", REFUSED, 503, 80, "no pool address has a free port towards this destination")
REASON(SNAT_UNAVAILABLE, "snat-unavailable", REFUSED, 503, 80, "no pool address of the destination's family is on a network interface")
REASON(TOO_MANY_CONNECTIONS, "too-many-connections", REFUSED, 503, 80, "limits.connections is reached")
REASON(TOO_MANY_CLIENT_CONNECTIONS, "too-many-client-connections", REFUSED, 429, 80, "limits.connections_per_client is reached")
REASON(NO_RESOURCES, "no-resources", REFUSED, 503, 80, "out of memory or descriptors")
