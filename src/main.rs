//! The `ringmain` binary: everything is in the library.

fn main() -> std::process::ExitCode {
    ringmain::cli::main()
}
