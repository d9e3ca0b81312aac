// Applies the colours that the reader has chosen before, if any.
//
// Not a module and loaded in the head, because a module runs after the first paint, and a page that turns from light to
// dark while it is read hurts.
try {
  const theme = localStorage.getItem('reprise-theme');
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Storage can be forbidden. Then the system's colours it is.
}
