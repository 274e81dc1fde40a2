use std::{env, error::Error, fs, path::Path};

use progenitor::{GenerationSettings, Generator, InterfaceStyle};

/// Generates the client from the description that the variable OPENAPI names.
fn main() -> Result<(), Box<dyn Error>> {
    let description = env::var("OPENAPI")?;
    println!("cargo:rerun-if-env-changed=OPENAPI");
    println!("cargo:rerun-if-changed={description}");
    let spec = serde_json::from_reader(fs::File::open(description)?)?;
    let mut settings = GenerationSettings::default();
    settings.with_interface(InterfaceStyle::Builder);
    let tokens = Generator::new(&settings).generate_tokens(&spec)?;
    let client = prettyplease::unparse(&syn::parse2(tokens)?);
    fs::write(Path::new(&env::var("OUT_DIR")?).join("client.rs"), client)?;
    Ok(())
}
