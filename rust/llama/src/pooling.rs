//! From the vectors of a text's tokens to one vector of the text.

/// How the vector of a text is made of those of its tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The average of all tokens.
    Mean,
    /// The first token.
    Cls,
    /// The last token.
    Last,
    /// No vector: the model's classification head gives a score.
    Rank,
}

impl Pooling {
    /// The pooling of a name as `tabagent-gguf` reads it from a model's metadata.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Mean, Self::Cls, Self::Last, Self::Rank]
            .into_iter()
            .find(|pooling| pooling.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Last => "last",
            Self::Rank => "rank",
        }
    }
}

/// The vector of one text, token by token. Sums are kept in 64 bits: a long text adds up thousands of vectors.
pub(crate) struct Pool {
    pooling: Pooling,
    tokens: usize,
    sum: Vec<f64>,
}

impl Pool {
    /// Of a text of `tokens` tokens.
    pub(crate) fn new(pooling: Pooling, tokens: usize, width: usize) -> Self {
        Self {
            pooling,
            tokens,
            sum: vec![0.0; width],
        }
    }

    /// Takes the vector of the token at `index`.
    pub(crate) fn add(&mut self, index: usize, vector: &[f32]) {
        let counts = match self.pooling {
            Pooling::Mean => true,
            Pooling::Cls => index == 0,
            Pooling::Last | Pooling::Rank => index + 1 == self.tokens,
        };
        if counts {
            let values = self.sum.iter_mut().zip(vector);
            values.for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }

    /// The text's vector, scaled to length 1 if asked. A vector of zeros stays as it is.
    pub(crate) fn finish(self, normalize: bool) -> Vec<f32> {
        let mut scale = match self.pooling {
            Pooling::Mean => 1.0 / self.tokens as f64,
            _ => 1.0,
        };
        if normalize {
            let length = self.sum.iter().map(|value| value * value).sum::<f64>();
            let length = length.sqrt();
            scale = if length > 0.0 { 1.0 / length } else { 0.0 };
        }
        let values = self.sum.into_iter();
        values.map(|value| (value * scale) as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [[f32; 2]; 3] = [[1.0, 0.0], [2.0, 3.0], [3.0, 9.0]];

    fn pooled(pooling: Pooling, normalize: bool) -> Vec<f32> {
        let mut pool = Pool::new(pooling, TOKENS.len(), 2);
        let tokens = TOKENS.iter().enumerate();
        tokens.for_each(|(index, vector)| pool.add(index, vector));
        pool.finish(normalize)
    }

    #[test]
    fn each_pooling_takes_its_tokens() {
        assert_eq!(pooled(Pooling::Mean, false), [2.0, 4.0]);
        assert_eq!(pooled(Pooling::Cls, false), [1.0, 0.0]);
        assert_eq!(pooled(Pooling::Last, false), [3.0, 9.0]);
    }

    #[test]
    fn a_normalized_vector_has_length_one() {
        let vector = pooled(Pooling::Mean, true);
        assert!((vector[0] - 0.2_f32.sqrt()).abs() < 1e-6, "{vector:?}");
        assert!((vector[1] - 0.8_f32.sqrt()).abs() < 1e-6, "{vector:?}");
        let nothing = Pool::new(Pooling::Mean, 1, 2).finish(true);
        assert_eq!(nothing, [0.0, 0.0], "nothing to scale");
    }

    #[test]
    fn names_come_back() {
        for name in ["mean", "cls", "last", "rank"] {
            assert_eq!(Pooling::from_name(name).map(Pooling::name), Some(name));
        }
        assert_eq!(Pooling::from_name("none"), None);
    }
}
