package org.openapitools.jackson.nullable;

import java.util.NoSuchElementException;
import java.util.Objects;

/** A field that is undefined, null or set. Ours, with what generated models use of the library of this name. */
public final class JsonNullable<T> {
  private static final JsonNullable<?> UNDEFINED = new JsonNullable<>(null, false);

  private final T value;
  private final boolean present;

  private JsonNullable(T value, boolean present) {
    this.value = value;
    this.present = present;
  }

  @SuppressWarnings("unchecked")
  public static <T> JsonNullable<T> undefined() {
    return (JsonNullable<T>) UNDEFINED;
  }

  public static <T> JsonNullable<T> of(T value) {
    return new JsonNullable<>(value, true);
  }

  public boolean isPresent() {
    return present;
  }

  public T get() {
    if (!present) {
      throw new NoSuchElementException("the field is undefined");
    }
    return value;
  }

  public T orElse(T other) {
    return present ? value : other;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof JsonNullable<?> that && present == that.present && Objects.equals(value, that.value);
  }

  @Override
  public int hashCode() {
    return Objects.hash(value, present);
  }
}
