package org.openapitools.jackson.nullable;

import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.BeanDescription;
import com.fasterxml.jackson.databind.SerializationConfig;
import com.fasterxml.jackson.databind.SerializerProvider;
import com.fasterxml.jackson.databind.module.SimpleModule;
import com.fasterxml.jackson.databind.ser.BeanPropertyWriter;
import com.fasterxml.jackson.databind.ser.BeanSerializerModifier;
import com.fasterxml.jackson.databind.ser.std.StdSerializer;
import java.io.IOException;
import java.util.List;

/** Jackson's part of {@link JsonNullable}: an undefined field is left out, another is written as its value. */
public final class JsonNullableModule extends SimpleModule {
  public JsonNullableModule() {
    super("JsonNullable");
    addSerializer(new ValueSerializer());
    setSerializerModifier(new BeanSerializerModifier() {
      @Override
      public List<BeanPropertyWriter> changeProperties(
          SerializationConfig config, BeanDescription bean, List<BeanPropertyWriter> fields) {
        fields.replaceAll(field -> field.getType().hasRawClass(JsonNullable.class) ? new DefinedOnly(field) : field);
        return fields;
      }
    });
  }

  private static final class ValueSerializer extends StdSerializer<JsonNullable<?>> {
    ValueSerializer() {
      super(JsonNullable.class, false);
    }

    @Override
    public void serialize(JsonNullable<?> field, JsonGenerator json, SerializerProvider provider) throws IOException {
      provider.defaultSerializeValue(field.get(), json);
    }
  }

  private static final class DefinedOnly extends BeanPropertyWriter {
    DefinedOnly(BeanPropertyWriter field) {
      super(field);
    }

    @Override
    public void serializeAsField(Object bean, JsonGenerator json, SerializerProvider provider) throws Exception {
      if (get(bean) instanceof JsonNullable<?> field && field.isPresent()) {
        super.serializeAsField(bean, json, provider);
      }
    }
  }
}
