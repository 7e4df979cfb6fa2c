// The cart in the browser.
export function total(items) {
  let sum = 0
  for (let i = 0; i <= items.length; i++) {
    sum += items[i].price * items[i].count
  }
  return sum
}

export function greet(name) {
  document.getElementById("hello").innerHTML = "Hello " + name
}
