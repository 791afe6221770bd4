//! A rate-limit service that has room for all but one group: just what the module reads of it.
//! <https://github.com/envoyproxy/envoy/blob/main/api/envoy/service/ratelimit/v3/rls.proto>

/// `RateLimitResponse.overall_code`.
const OVERALL: u8 = 0x08;
/// What stands in one of its `statuses` behind the code: of 1,000,000 a minute 999,000 are left, and the window ends in 40 s.
const STATUS: [u8; 16] = [
    0x12, 6, 0x08, 0xc0, 0x84, 0x3d, 0x10, 2, 0x18, 0xd8, 0xfc, 0x3c, 0x22, 2, 0x08, 40,
];
const OK: u8 = 1;
const OVER_LIMIT: u8 = 2;
/// The group whose limits are used up.
const LIMITED: &[u8] = b"limited";
/// Of gRPC: not compressed, and how long the message is.
const FRAME: usize = 5;

/// The answer to a call: a status for each of its descriptors.
pub(crate) fn answer(call: &[u8]) -> Vec<u8> {
    let is_limited = call.windows(LIMITED.len()).any(|text| text == LIMITED);
    let code = if is_limited { OVER_LIMIT } else { OK };
    let mut message = vec![OVERALL, code];
    let mut rest = call.get(FRAME..).unwrap_or_default();
    // Of a `RateLimitRequest` all fields are short: a text, descriptors, and a number at the end.
    while let [tag, length, fields @ ..] = rest {
        if *tag == 0x12 {
            message.extend([0x12, 18, 0x08, code]);
            message.extend_from_slice(&STATUS);
        }
        rest = match tag & 7 {
            2 => fields.get(usize::from(*length)..).unwrap_or_default(),
            _ => fields,
        };
    }
    let length = u32::try_from(message.len()).unwrap_or_default();
    [&[0], &length.to_be_bytes()[..], &message].concat()
}
