//! A terminal's window as SVG, from commands and what they printed.
//! It must not run anything.

const WIDTH: usize = 92;
const LINE: usize = 20;
const CHARACTER: f32 = 8.43;
const TOP: usize = 54;

/// Draws the commands with their outputs.
pub fn draw(session: &[(String, String)]) -> String {
    let mut lines = Vec::new();
    for (command, printed) in session {
        lines.push(format!(
            r#"<tspan class="prompt">#</tspan> <tspan class="command">{}</tspan>"#,
            escaped(command)
        ));
        lines.extend(printed.lines().map(escaped));
    }
    let (width, height) = (
        WIDTH as f32 * CHARACTER + 40.0,
        TOP + lines.len() * LINE + 16,
    );
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height}\" \
         role=\"img\" aria-label=\"podman runs containers with pxrun\">\n{STYLE}\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" class=\"window\"/>\n"
    );
    for (x, colour) in [(20, "#ff5f57"), (40, "#febc2e"), (60, "#28c840")] {
        out += &format!("<circle cx=\"{x}\" cy=\"20\" r=\"6\" fill=\"{colour}\"/>\n");
    }
    for (n, line) in lines.iter().enumerate() {
        out += &format!("<text x=\"20\" y=\"{}\">{line}</text>\n", TOP + n * LINE);
    }
    out + "</svg>\n"
}

const STYLE: &str = "<style>\
    .window{fill:#1e2127}\
    text{fill:#abb2bf;white-space:pre;font:14px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}\
    .prompt{fill:#98c379}.command{fill:#fff}</style>\n";

fn escaped(text: &str) -> String {
    let shown = match text.chars().count() > WIDTH {
        true => text.chars().take(WIDTH - 1).chain(['…']).collect(),
        false => text.to_owned(),
    };
    shown
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace(' ', "\u{a0}")
}

#[test]
fn text_becomes_xml_and_stays_in_the_window() {
    let long = "x".repeat(200);
    let svg = draw(&[("echo '<&>'".into(), format!("<&>\n{long}"))]);
    assert!(svg.contains("echo\u{a0}'&lt;&amp;&gt;'") && svg.contains("x…</text>"));
    assert_eq!(svg.matches("<text").count(), 3);
}
