//! `renew`: what `get-token` starts beside a caller whose token is due. Nobody types it, and nobody
//! reads what it says: its standard output and standard error lead nowhere.

use std::sync::Arc;

use super::{Command, CommandLine, Context, DONE, called_as, get_token, parse_any};
use crate::error::{Calling, Error, ExitCode};
use crate::exec::ExecError;
use crate::issue::{self, Conditions};
use crate::renew::{self, Task};
use crate::token::Timestamp;

pub(super) fn run(clock: fn() -> Timestamp) -> Result<ExitCode, Error> {
    renew::detach();
    let task = Task::read(std::io::stdin().lock()).map_err(|_| ExecError::NotForPersons(renew::COMMAND))?;
    let env = task.env();
    let program = called_as(&env);
    let Ok(CommandLine { command: Command::GetToken(flags), common }) = parse_any(&task.arguments, program)
    else {
        return Err(ExecError::NotForPersons(renew::COMMAND).into());
    };
    let calling = Calling { program: program.to_owned(), ..Calling::default() };
    let context = Context::new(common, env, calling, clock, None);
    let get_token::Call { order, asker, .. } = get_token::understand(flags, &context)?;
    let conditions = Conditions { asker, note: Arc::new(|_| ()), ..context.conditions() };
    issue::renew(&context.env, &order, &conditions, task.invocation)?;
    Ok(DONE)
}
