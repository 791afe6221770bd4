//! stub
use super::endpoint::Call;
#[derive(Debug)]
pub struct Reader {
    body: Vec<u8>,
}
#[derive(Debug)]
pub struct BodyError;
#[derive(Debug, Default)]
pub struct Facts {
    pub models: Vec<String>,
    pub stream: bool,
    pub include_usage: Option<bool>,
    pub text_bytes: u64,
    pub media: u64,
    pub background: bool,
}
impl Reader {
    pub fn new(_: &Call, _: Option<&[u8]>, _: Option<&[u8]>) -> Result<Self, BodyError> {
        Ok(Self { body: vec![] })
    }
    pub fn push(&mut self, c: &[u8]) -> Result<(), BodyError> {
        self.body.extend_from_slice(c);
        Ok(())
    }
    pub fn finish(self) -> Result<Facts, BodyError> {
        let v: serde_json::Value = serde_json::from_slice(&self.body).map_err(|_| BodyError)?;
        Ok(Facts {
            models: v["model"].as_str().map(str::to_owned).into_iter().collect(),
            stream: v["stream"] == true,
            include_usage: v["stream_options"]["include_usage"].as_bool(),
            ..Facts::default()
        })
    }
}
