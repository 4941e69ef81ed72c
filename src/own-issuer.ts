/** What `iss` is in the tokens that Keyrow makes: no other issuer may have it. */
export const OWN_ISSUER = "urn:keyrow";
