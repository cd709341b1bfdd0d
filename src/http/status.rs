//! The status of an answer (RFC 9110, 15).

/// A status, as a number with three digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(u16);

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal, $doc:literal;)*) => {
        impl Status {
            $(#[doc = $doc] pub const $name: Status = Status($code);)*

            /// The words behind the number in the status line; they tell nothing more.
            pub fn reason(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => "",
                }
            }
        }
    };
}

statuses! {
    OK = 200 "OK", "Done; the body says what.";
    NO_CONTENT = 204 "No Content", "Done; there is nothing to say.";
    MULTI_STATUS = 207 "Multi-Status", "Part of it is done, part refused; the body says what.";
    BAD_REQUEST = 400 "Bad Request", "This is no request, or nothing in it could be used.";
    UNAUTHORIZED = 401 "Unauthorized", "Credentials are wanted.";
    FORBIDDEN = 403 "Forbidden", "Not for whoever asks.";
    NOT_FOUND = 404 "Not Found", "There is nothing under this path.";
    METHOD_NOT_ALLOWED = 405 "Method Not Allowed", "Not with this method.";
    REQUEST_TIMEOUT = 408 "Request Timeout", "The request took too long to arrive.";
    CONFLICT = 409 "Conflict", "Not in the state things are in.";
    CONTENT_TOO_LARGE = 413 "Content Too Large", "The body is longer than accepted.";
    URI_TOO_LONG = 414 "URI Too Long", "The request line is longer than accepted.";
    UNSUPPORTED_MEDIA_TYPE = 415 "Unsupported Media Type", "The body is of a type or coding that is not read here.";
    EXPECTATION_FAILED = 417 "Expectation Failed", "The client expects what is not done here.";
    MISDIRECTED = 421 "Misdirected Request", "The name asked for is not served here.";
    UNPROCESSABLE = 422 "Unprocessable Content", "Well-formed, but not to be done.";
    TOO_MANY_REQUESTS = 429 "Too Many Requests", "The client takes more than its share.";
    HEAD_TOO_LARGE = 431 "Request Header Fields Too Large", "The head is longer than accepted.";
    INTERNAL = 500 "Internal Server Error", "Our fault.";
    NOT_IMPLEMENTED = 501 "Not Implemented", "This is not done here.";
    UNAVAILABLE = 503 "Service Unavailable", "Not now.";
    VERSION_NOT_SUPPORTED = 505 "HTTP Version Not Supported", "This version of HTTP is not spoken here.";
}

impl Status {
    /// The number.
    pub fn code(self) -> u16 {
        self.0
    }

    /// The hundreds of the number: 2 is success, 4 the client's fault, 5 ours.
    pub fn class(self) -> u16 {
        self.0 / 100
    }
}
