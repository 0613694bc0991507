//! The form that an answer must have: a JSON schema, a regular expression, a grammar.
//!
//! [`Forms`] belongs to a model and compiles what requests ask for; a [`Constraint`] then follows one answer. It says
//! which tokens may come next, and which must. The grammars are `llguidance`'s: an Earley parser over a lexer of
//! derivatives, walked along a trie of the vocabulary.

mod constraint;
mod forms;
mod schema;
mod vocabulary;

pub use constraint::{Constraint, FollowError};
pub use forms::{Form, FormError, Forms};
pub use vocabulary::{Tokenize, VocabularyBytes};
