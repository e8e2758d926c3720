// Puts the text beside a button into the clipboard. Without the script, the buttons are not shown.
"use strict";

async function copy(button) {
  const code = button.parentElement.querySelector("code");
  const told = document.getElementById("copied");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    // Browsers have no clipboard for plain http: what is selected can be copied by hand, and mostly like this.
    getSelection().selectAllChildren(code);
    if (!document.execCommand("copy")) {
      told.textContent = "Selected: copy it with Ctrl+C.";
      return;
    }
  }
  told.textContent = "Copied.";
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});
