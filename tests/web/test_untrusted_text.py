"""What a model says cannot do anything: tested with a real model that is held to say it, and with the
renderer alone.
"""

from __future__ import annotations

from gateway.spawning import Served
from playwright.sync_api import BrowserContext, Page, expect

from .conftest import PATIENCE_MS, answered, ask, force, open_page, watch

expect.set_options(timeout=PATIENCE_MS)

SAID = """<script>window.hacked = 1</script>

<img src=x onerror="window.hacked = 1"> <svg onload="window.hacked = 1"></svg>

[click](javascript:window.hacked=1) and ![pixel](https://elsewhere.example/pixel.png)

<iframe srcdoc="<script>parent.hacked = 1</script>"></iframe>
"""

PAYLOADS = [
    "<script>window.hacked=1</script>",
    "<ScRiPt\n>window.hacked=1</sCrIpT>",
    "<img src=x onerror=window.hacked=1>",
    "a <img src=x onerror=window.hacked=1> b",
    "<svg><script>window.hacked=1</script></svg>",
    "<svg><animate onbegin=window.hacked=1 attributeName=x dur=1s>",
    "<math><mi//xlink:href='data:x,<script>window.hacked=1</script>'>",
    "<iframe src='javascript:parent.hacked=1'></iframe>",
    "<details open ontoggle=window.hacked=1>",
    "<form action=https://elsewhere.example><input name=key></form>",
    "<style>body{display:none}</style>",
    "<link rel=stylesheet href=https://elsewhere.example/x.css>",
    "<meta http-equiv=refresh content='0;url=https://elsewhere.example'>",
    "<base href=https://elsewhere.example>",
    "<div style='position:fixed;inset:0'>over all</div>",
    "<a href='javascript:window.hacked=1'>x</a>",
    "[x](javascript:window.hacked=1)",
    "[x](JaVaScRiPt:window.hacked=1)",
    "[x](&#106;avascript:window.hacked=1)",
    "[x](java\tscript:window.hacked=1)",
    "[x](data:text/html,<script>window.hacked=1</script>)",
    "[x](vbscript:window.hacked=1)",
    "[x](//elsewhere.example)",
    "[x](/page/main.js)",
    '[x](https://elsewhere.example "\\" onmouseover=window.hacked=1 ")',
    "[x]: javascript:window.hacked=1\n\n[x]",
    "![x](https://elsewhere.example/p.png)",
    '![" onerror="window.hacked=1](x)',
    '![x](x" onerror="window.hacked=1)',
    '<https://elsewhere.example/"onmouseover=window.hacked=1>',
    "<javascript:window.hacked=1>",
    '```"><script>window.hacked=1</script>\ncode\n```',
    "```js onload=window.hacked=1\n<img src=x onerror=window.hacked=1>\n```",
    "`<img src=x onerror=window.hacked=1>`",
    "# <img src=x onerror=window.hacked=1>",
    "| <img src=x onerror=window.hacked=1> |\n|---|\n| <script>window.hacked=1</script> |",
    "- [x] <img src=x onerror=window.hacked=1>",
    '<noscript><p title="</noscript><img src=x onerror=window.hacked=1>">',
    "<table><caption><img src=x onerror=window.hacked=1>",
    "<!-- <img src=x onerror=window.hacked=1> -->",
    "<![CDATA[<img src=x onerror=window.hacked=1>]]>",
    "<template><img src=x onerror=window.hacked=1></template>",
    "<img src=x onerror=window.hacked=1//\0",
    "<p id=composer name=scroller>",
]
"""Ways in that have worked somewhere."""

FORBIDDEN = """root => {
  const bad = [];
  const tags = new Set(["DIV", "SPAN", "BUTTON", "svg", "use", "P", "BR", "HR", "H3", "H4", "H5", "H6",
    "STRONG", "EM", "DEL", "CODE", "PRE", "BLOCKQUOTE", "UL", "OL", "LI", "A", "TABLE", "THEAD", "TBODY",
    "TR", "TH", "TD"]);
  for (const element of root.querySelectorAll("*")) {
    if (!tags.has(element.tagName)) bad.push(element.outerHTML);
    for (const { name, value } of element.attributes) {
      if (/^on|^style$|^id$|^name$|^src/.test(name)) bad.push(name);
      if (name === "href" && !/^(https?:|mailto:|#icon-)/.test(value)) bad.push(value);
    }
    const opens = element.tagName === "A" && element.href;
    if (opens && !element.rel.includes("noopener")) bad.push(element.outerHTML);
  }
  return bad;
}"""


def test_a_model_that_says_it_does_nothing(context: BrowserContext, host: Served) -> None:
    page = context.new_page()
    faults = watch(page)
    elsewhere: list[str] = []
    page.on("request", lambda request: elsewhere.append(request.url) if host.url not in request.url else None)
    force(page, SAID)
    open_page(page, host)
    ask(page, "Say something wicked")
    answered(page)
    expect(page.locator(".answer .text")).to_contain_text("<script>window.hacked = 1</script>")
    expect(page.locator(".answer .text")).to_contain_text('<img src=x onerror="window.hacked = 1">')
    page.get_by_text("click", exact=True).click()
    page.reload()  # what is kept is shown again, and must be as harmless
    expect(page.locator(".answer .text")).to_contain_text("<script>window.hacked = 1</script>")
    assert page.locator(".answer .text").evaluate(FORBIDDEN) == []
    assert page.evaluate("window.hacked") is None
    assert elsewhere == []
    assert faults == []


def test_the_renderer_lets_nothing_through(page: Page) -> None:
    page.evaluate(
        """async () => {
          const { MarkdownView } = await import("/page/markdown.js");
          window.render = text => {
            const root = document.createElement("div");
            document.querySelector("#messages").replaceChildren(root);
            new MarkdownView(root).show(text);
            return root;
          };
        }"""
    )
    for payload in PAYLOADS:
        rendered = page.evaluate_handle("text => window.render(text)", payload)
        assert page.evaluate(FORBIDDEN, rendered) == [], payload
        assert page.evaluate("window.hacked") is None, payload


def test_what_nests_too_deeply_is_shown_as_it_stands(page: Page) -> None:
    for text in ("> " * 5000 + "deep", "- " * 5000 + "deep"):
        shown = page.evaluate(
            """async text => {
              const { MarkdownView } = await import("/page/markdown.js");
              const root = document.createElement("div");
              new MarkdownView(root).show(text);
              return root.textContent;
            }""",
            text,
        )
        assert "deep" in shown


def test_what_grows_is_shown_as_what_is_whole(page: Page) -> None:
    same = page.evaluate(
        """async text => {
          const { MarkdownView } = await import("/page/markdown.js");
          const [grown, whole] = [document.createElement("div"), document.createElement("div")];
          const view = new MarkdownView(grown);
          for (let end = 0; end <= text.length; end++) view.show(text.slice(0, end));
          new MarkdownView(whole).show(text);
          return [grown.innerHTML, whole.innerHTML];
        }""",
        "# Title\n\nSome *words* and [a link][1].\n\n- one\n- two\n  - three\n\n"
        "```rust\nfn main() {}\n```\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\n> quote\n\n1. x\n2. y\n\n[1]: https://example.org\n",
    )
    assert same[0] == same[1]
    assert "<h3>Title</h3>" in same[0]
    assert 'href="https://example.org"' in same[0]
    assert "<table>" in same[0]


def test_inline_scripts_and_other_servers_are_kept_out_by_the_policy(
    context: BrowserContext, host: Served
) -> None:
    """What would stand between a fault in the renderer and the user."""
    page = context.new_page()
    open_page(page, host)
    violated = page.evaluate(
        """async () => {
          const violated = [];
          const done = new Promise(resolve => document.addEventListener("securitypolicyviolation", event => {
            violated.push(event.effectiveDirective);
            if (violated.length === 3) resolve();
          }));
          const script = document.createElement("script");
          try { script.textContent = "window.hacked = 1"; } catch { }
          const image = document.createElement("img");
          image.src = "https://elsewhere.example/pixel.png";
          document.body.append(image);
          const style = document.createElement("style");
          style.textContent = "body { display: none }";
          document.head.append(style);
          await done;
          return violated.sort();
        }"""
    )
    assert violated == ["img-src", "require-trusted-types-for", "style-src-elem"]
    assert page.evaluate("window.hacked") is None
