//! What is made of one number.

use super::{Fault, Num, Operator, Scratch, Val};
use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::fmt::temporal::DateTimePrinter;
use jiff::tz::TimeZone;

/// What is made of it.
#[derive(Clone, Debug)]
pub enum OfNumber {
    /// What is left without its fraction.
    Int,
    Floor,
    Ceil,
    /// The nearest with so many digits behind the point; halves go away from zero.
    Round(i32),
    Abs,
    /// Nanoseconds in units of so many.
    From(i64),
    /// So many nanoseconds.
    To(i64),
    /// A time, as `strftime(3)` writes it.
    FormatTime(Box<str>, TimeZone),
    /// A time as RFC 3339 writes it.
    Rfc3339(TimeZone),
}

impl OfNumber {
    /// What it makes of `number`.
    pub fn find<'a>(&self, number: Num, scratch: &mut Scratch) -> Result<Val<'a>, Fault> {
        let number = match self {
            OfNumber::Int => number.rounded(f64::trunc),
            OfNumber::Floor => number.rounded(f64::floor),
            OfNumber::Ceil => number.rounded(f64::ceil),
            OfNumber::Round(0) => number.rounded(f64::round),
            OfNumber::Round(digits) => match number {
                Num::Whole(_) => Ok(number),
                Num::Real(real) => {
                    let scale = 10_f64.powi(*digits);
                    // Beyond this no double has a digit behind the point to round.
                    let scaled = real * scale;
                    if scaled.is_finite() { Num::real(scaled.round() / scale) } else { Ok(number) }
                }
            },
            OfNumber::Abs => number.abs(),
            OfNumber::From(unit) => number.apply(Operator::Divide, Num::Whole(*unit)),
            OfNumber::To(unit) => number
                .apply(Operator::Multiply, Num::Whole(*unit))
                .and_then(|nanos| nanos.rounded(f64::round)),
            OfNumber::FormatTime(format, zone) => {
                let (time, offset) = local(number, zone)?;
                let mut broken = BrokenDownTime::from(offset.to_datetime(time));
                broken.set_offset(Some(offset));
                let mut said = true;
                let text =
                    scratch.make(|out| out.append(|bytes| said = broken.format(&**format, bytes).is_ok()))?;
                return if said { Ok(Val::Text(text)) } else { Err(Fault("this time cannot be written so")) };
            }
            OfNumber::Rfc3339(zone) => {
                let (time, offset) = local(number, zone)?;
                const PRINTER: DateTimePrinter = DateTimePrinter::new();
                let utc = *zone == TimeZone::UTC;
                let mut said = true;
                let text = scratch.make(|out| {
                    out.append(|bytes| {
                        let printed = match utc {
                            true => PRINTER.print_timestamp(&time, bytes),
                            false => PRINTER.print_timestamp_with_offset(&time, offset, bytes),
                        };
                        said = printed.is_ok();
                    })
                })?;
                return if said { Ok(Val::Text(text)) } else { Err(Fault("this time cannot be written so")) };
            }
        };
        number.map(Val::Number)
    }
}

/// The time that is so many nanoseconds after 1970, and how far the zone's clocks are ahead then.
fn local(number: Num, zone: &TimeZone) -> Result<(Timestamp, jiff::tz::Offset), Fault> {
    let nanos = number.whole()?;
    let time = Timestamp::from_nanosecond(nanos.into()).map_err(|_| Fault("this is no time"))?;
    Ok((time, zone.to_offset(time)))
}
