/** The form of a UUID (RFC 9562, section 4), of any version and in letters of either case. */
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
